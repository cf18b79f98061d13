"""The AudioSet tagger that teaches mmret-mini: EfficientAT mn04, run from its ONNX file.

Source: Schmid, Koutini, Widmer, "Efficient large-scale audio tagging via transformer-to-CNN knowledge
distillation", ICASSP 2023; MIT licence. The front end below is theirs (32 kHz, Kaldi-style mel).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret._optional import require
from mmret._telemetry import onnxruntime
from mmret.errors import DataLayoutError

SAMPLE_RATE = 32_000
_FFT = 1024
_HOP = 320
_PRE_EMPHASIS = 0.97
_LOG_EPS = 1e-5
_MIN_SAMPLES = SAMPLE_RATE  # shorter clips are padded with zeros: the tagger was never shown less than a second
_FILES = ("mn04_as.onnx", "frontend.npz", "classes.csv")


@dataclass(frozen=True)
class Tags:
    """What the tagger says of a batch: logits (batch, 527), embedding (batch, 384), map (batch, steps, 384)."""

    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]
    map: NDArray[np.float32]


class AudioSetTagger:
    """Tag waveforms with AudioSet's 527 classes.

    Args of `folder`: where mn04_as.onnx, frontend.npz and classes.csv lie; DataLayoutError names what is missing.
    """

    def __init__(self, folder: str | Path, *, threads: int = 1) -> None:
        folder = Path(folder)
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise DataLayoutError(
                f"{folder} lacks {', '.join(missing)}; put the exported EfficientAT mn04 tagger (mn04_as_mAP_432) there"
            )
        front_end = np.load(folder / "frontend.npz")
        self._mel = np.ascontiguousarray(front_end["mel"].T)
        self._window = front_end["window"].astype(np.float32)
        self._session = _session_with_map(folder / "mn04_as.onnx", threads)
        self.class_names = class_names(folder / "classes.csv")

    def log_mel(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-mel (128, frames) of a 32 kHz waveform (time,), as the tagger was trained on."""
        emphasised = waveform[1:] - np.float32(_PRE_EMPHASIS) * waveform[:-1]
        padded = np.pad(emphasised, _FFT // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
        spectrum = np.fft.rfft(frames * self._window)
        power = spectrum.real**2 + spectrum.imag**2
        log_mel: NDArray[np.float32] = (np.log(power.astype(np.float32) @ self._mel + np.float32(_LOG_EPS)) + 4.5) / 5
        return log_mel.T

    def __call__(self, waveforms: Sequence[NDArray[np.float32]]) -> Tags:
        """Tag 32 kHz waveforms of one length, each (time,)."""
        batch = np.stack([self.log_mel(_at_least_a_second(wave)) for wave in waveforms])[:, None]
        logits, embedding, feature_map = self._session.run(None, {"logmel": batch})
        return Tags(logits, embedding, feature_map.mean(axis=2).transpose(0, 2, 1))


def class_names(path: str | Path) -> list[str]:
    """AudioSet's display names in the tagger's order."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [row["display_name"] for row in csv.DictReader(file)]


def _at_least_a_second(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.pad(waveform, (0, max(0, _MIN_SAMPLES - len(waveform))))


def _session_with_map(path: Path, threads: int):  # type: ignore[no-untyped-def]  # onnxruntime ships no types
    """Session that also returns the 384-channel map before pooling, a target for every 0.32 s."""
    onnx, runtime = require("onnx", extra="train"), onnxruntime()
    model = onnx.load(str(path))
    pooling = next(node for node in model.graph.node if "embedding" in node.output)
    model.graph.output.append(onnx.helper.make_tensor_value_info(pooling.input[0], onnx.TensorProto.FLOAT, None))
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
