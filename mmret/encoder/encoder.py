"""Encoder: the public way from sounds and sentences to unit vectors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.audio.decode import decode
from mmret.audio.segments import iter_segments
from mmret.encoder.manifest import FILE_NAME
from mmret.encoder.towers import Towers, Vectors
from mmret.errors import MissingExtra, ModelFormatError

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"
RUNTIMES = ("auto", "onnx", "torch")
# Small batches: the activations of a few windows stay in the processor's cache.
BATCH = 8

Recording = str | os.PathLike[str] | NDArray[np.float32]


class Encoder:
    """Turn recordings and sentences into vectors that can be compared by their inner product.

    The same samples give the same vector from call to call, and within 1e-5 whatever batch they travel in.

    >>> encoder = Encoder.from_pretrained("mmret-mini")
    >>> encoder.encode_text(["a dog barks", "rain"]).shape
    (2, 384)
    """

    def __init__(self, towers: Towers) -> None:
        self._towers = towers
        self.name = towers.name
        self.runtime = towers.runtime
        self.dim = towers.dim
        self.sample_rate = towers.sample_rate
        self.windows = towers.windows
        self.fingerprint = towers.fingerprint

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, runtime={self.runtime!r}, dim={self.dim}, sample_rate={self.sample_rate})"

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str] = "mmret-mini", *, runtime: str = "auto") -> Encoder:
        """Open a shipped model by name, a model folder, or a transformers CLAP by hub id.

        runtime "auto" takes ONNX Runtime where the folder was exported for it and torch elsewhere.
        """
        if runtime not in RUNTIMES:
            raise ModelFormatError(f"runtime {runtime!r} is not one of {', '.join(RUNTIMES)}")
        folder = _model_folder(name_or_path)
        exported = folder is not None and (folder / FILE_NAME).is_file()
        if runtime == "onnx" or (runtime == "auto" and exported):
            if folder is None or not exported:
                raise ModelFormatError(
                    f"{name_or_path} was not exported for onnx; run: mmret export {name_or_path} OUT"
                )
            from mmret.encoder.onnx_towers import OnnxTowers

            return cls(OnnxTowers(folder))
        return cls(_torch_towers(name_or_path, folder))

    def encode_text(self, sentences: Sequence[str]) -> Vectors:
        """Sentences -> unit vectors (sentences, dim)."""
        if isinstance(sentences, str):
            raise TypeError("encode_text takes a list of sentences, not one string")
        parts = [
            _finite(self._towers.text([sentence]), [f"sentence {sentence!r}"]) for sentence in sentences
        ]  # one by one: padding to a longer neighbour would move the last bits
        return _joined(parts, self.dim)

    def encode_audio(self, recordings: Sequence[Recording]) -> Vectors:
        """Files, or waveforms (time,) at self.sample_rate -> one unit vector each, (recordings, dim).

        A recording longer than a window is the mean of its windows' vectors. AudioError names a file that cannot
        be read.
        """
        if isinstance(recordings, (str, os.PathLike)):
            raise TypeError("encode_audio takes a list of recordings, not one path")
        return _joined([self._one_vector(recording)[None] for recording in recordings], self.dim)

    def encode_waveforms(self, waveforms: Sequence[NDArray[np.float32]]) -> Vectors:
        """Waveforms (time,) at self.sample_rate, each no longer than a window -> unit vectors (n, dim), in order."""
        vectors = np.empty((len(waveforms), self.dim), np.float32)
        for rows in _batches_of_equal_length(waveforms):
            batch = [np.ascontiguousarray(waveforms[row], np.float32) for row in rows]
            vectors[rows] = _finite(self._towers.audio(batch), [f"waveform {row}" for row in rows])
        return vectors

    def _one_vector(self, recording: Recording) -> Vectors:
        samples = recording if isinstance(recording, np.ndarray) else decode(recording, self.sample_rate)
        if samples.ndim != 1 or not len(samples):
            raise ValueError(f"a waveform must be (time,) with at least one sample, not {samples.shape}")
        segments = iter_segments([samples.astype(np.float32, copy=False)], self.sample_rate, self.windows)
        mean = self.encode_waveforms([segment.waveform for segment in segments]).mean(axis=0)
        unit: Vectors = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return unit


def shipped_models() -> list[str]:
    """Names of the models inside the package."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{FILE_NAME}"))


def _model_folder(name_or_path: str | os.PathLike[str]) -> Path | None:
    """Folder of a shipped name or of a path; None for what can only be a hub id."""
    name = os.fspath(name_or_path)
    if (PRETRAINED / name / FILE_NAME).is_file() and "/" not in name:
        return PRETRAINED / name
    path = Path(name)
    if path.is_dir():
        return path
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelFormatError(
            f"no model called {name}: it is no folder and none of the shipped models ({', '.join(shipped_models())}). "
            "Give a model folder or a hub id such as laion/clap-htsat-unfused"
        )
    return None


def _torch_towers(name_or_path: str | os.PathLike[str], folder: Path | None) -> Towers:
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise MissingExtra(f'{name_or_path} runs on torch, which is not installed. Run: pip install "mmret[models]"')
    from mmret.encoder.torch_towers import load_towers

    return load_towers(os.fspath(name_or_path), folder)


def _batches_of_equal_length(waveforms: Sequence[NDArray[np.float32]]) -> Iterator[list[int]]:
    by_length: dict[int, list[int]] = {}
    for row, waveform in enumerate(waveforms):
        by_length.setdefault(len(waveform), []).append(row)
    for rows in by_length.values():
        for start in range(0, len(rows), BATCH):
            yield rows[start : start + BATCH]


def _finite(vectors: Vectors, items: Sequence[str]) -> Vectors:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ModelFormatError(f"the model gave a vector that is not finite for {items[bad[0]]}")
    return vectors


def _joined(parts: Sequence[Vectors], dim: int) -> Vectors:
    return np.concatenate(parts) if parts else np.empty((0, dim), np.float32)
