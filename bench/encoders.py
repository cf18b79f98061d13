"""The shipped audio tower, and one of ViT-Base's size, in every precision and runtime, against plain PyTorch.

The large one is an M2D-CLAP with random weights, whose columns have uneven scales, as those of trained towers do: its
speed is that of any M2D-CLAP, its rounding errors are an indication. Both hear real recordings, the package's samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from operations import VECTOR_TOLERANCE, Operation, largest_difference, mel_spectrogram, noisy_tone
from timing import Variants

from mmret.audio.decode import decode
from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.audio.segments import iter_segments
from mmret.encoder import Encoder
from mmret.encoder.encoder import PRETRAINED, batches_of_equal_length
from mmret.encoder.export import export_folder
from mmret.encoder.processor import adds_int8_exactly
from mmret.encoder.quantise import SMALLEST_COSINE, sample_recordings
from mmret.models import ConvClapModel, M2DClapConfig, M2DClapModel, M2DConfig

REPETITIONS = 7  # a call takes a second or so: long enough to say much alone
FILE_TOLERANCE = 1e-3  # the log-mels of two front ends in float32 differ by up to 1e-4
SPREAD = 0.3  # standard deviation of the logarithm of the columns' scales

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Tower:
    """One model: its exported folders and itself, in plain PyTorch."""

    name: str
    exact: Path
    int8: Path
    plain: Any


def every(folder: Path, layers: int, seconds: int) -> Iterator[Operation]:
    """All operations on the shipped model and on a tower of ViT-Base's width, 12 layers of which are ViT-Base."""
    path = folder / "stereo.wav"
    soundfile.write(path, noisy_tone(seconds, 44_100), 44_100)
    for tower in (shipped(folder / "shipped"), random_vit(folder / "vit", layers)):
        yield window_fp32(tower)
        yield file_fp32(tower, path, seconds)
        if adds_int8_exactly():
            facts = closeness(tower)
            yield window_int8(tower, facts)
            yield file_int8(tower, path, seconds, facts)


def shipped(folder: Path) -> Tower:
    """mmret-mini."""
    return _exported("mmret-mini", PRETRAINED / "mmret-mini", folder, ConvClapModel)


def random_vit(folder: Path, layers: int) -> Tower:
    """An M2D-CLAP without text tower, its weights drawn at random."""
    torch.manual_seed(0)
    audio = M2DConfig(depth=layers)
    model = M2DClapModel(M2DClapConfig(audio_config=audio, audio_projector="semantic", text_projector="linear"))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(torch.exp(SPREAD * torch.randn(1, parameter.shape[1])))
    model.save_pretrained(folder / "source")
    name = "ViT-Base" if layers == M2DConfig().depth else f"ViT of {layers} layers"
    return _exported(name, export_folder(folder / "source", folder / "fp32"), folder, M2DClapModel)


def _exported(name: str, exact: Path, folder: Path, kind: Any) -> Tower:
    int8 = folder / "int8"
    if adds_int8_exactly():
        export_folder(exact, int8, precision="int8")
    return Tower(name, exact, int8, kind.from_pretrained(exact, dtype=torch.float32).eval())


def window_fp32(tower: Tower) -> Operation:
    """One full window -> its vector, exact."""
    runtimes = ["onnx", "openvino", "torch"] if find_spec("openvino") else ["onnx", "torch"]
    encoders = {f"mmret, {runtime}": Encoder.from_pretrained(tower.exact, runtime=runtime) for runtime in runtimes}
    variants = _window_variants(encoders, tower)
    difference = largest_difference(variants, VECTOR_TOLERANCE)
    return Operation(f"window -> vector, {tower.name}, fp32", variants, difference, REPETITIONS)


def window_int8(tower: Tower, facts: dict[str, float]) -> Operation:
    """One full window -> its vector, int8 against exact."""
    variants = _window_variants({"mmret, int8": Encoder.from_pretrained(tower.int8)}, tower)
    difference = largest_difference(variants, np.inf)
    return Operation(f"window -> vector, {tower.name}, int8", variants, difference, REPETITIONS, facts)


def file_fp32(tower: Tower, path: Path, seconds: int) -> Operation:
    """A stereo wav at 44.1 kHz -> its vector, exact."""
    variants = _file_variants("mmret, onnx", tower.exact, tower, path)
    difference = largest_difference(variants, FILE_TOLERANCE)
    return Operation(f"{seconds} s of wav -> vector, {tower.name}, fp32", variants, difference, REPETITIONS)


def file_int8(tower: Tower, path: Path, seconds: int, facts: dict[str, float]) -> Operation:
    """A stereo wav at 44.1 kHz -> its vector, int8 against exact."""
    variants = _file_variants("mmret, int8", tower.int8, tower, path)
    difference = largest_difference(variants, np.inf)
    return Operation(f"{seconds} s of wav -> vector, {tower.name}, int8", variants, difference, REPETITIONS, facts)


def closeness(tower: Tower) -> dict[str, float]:
    """Cosines of int8 vectors to exact ones, on the sample recordings; two clips' own cosine for comparison."""
    exact, int8 = (
        Encoder.from_pretrained(folder, runtime="onnx").encode_audio(sample_recordings())
        for folder in (tower.exact, tower.int8)
    )
    cosines = (exact * int8).sum(axis=1)
    if not cosines.mean() >= SMALLEST_COSINE:
        raise ValueError(f"int8 keeps a cosine of {cosines.mean():.5f}: times of unequal results say nothing")
    clips = (exact @ exact.T)[~np.eye(len(exact), dtype=bool)]
    return {
        "mean_cosine": float(cosines.mean()),
        "smallest_cosine": float(cosines.min()),
        "mean_cosine_between_clips": float(clips.mean()),
    }


def _window_variants(encoders: dict[str, Encoder], tower: Tower) -> Variants:
    encoder = next(iter(encoders.values()))
    wave = np.resize(decode(sample_recordings()[0], encoder.sample_rate), _window_samples(encoder))
    front_end = LogMel(LogMelConfig.for_rate(encoder.sample_rate))

    def plain() -> Vectors:
        with torch.inference_mode():
            log_mel = torch.from_numpy(front_end(wave))[None, None]
            return tower.plain.get_audio_features(log_mel).pooler_output.numpy()

    def ours(encoder: Encoder) -> Callable[[], Vectors]:
        return lambda: encoder.encode_waveforms([wave])

    return {name: ours(encoder) for name, encoder in encoders.items()} | {"PyTorch": plain}


def _file_variants(name: str, folder: Path, tower: Tower, path: Path) -> Variants:
    encoder, config = Encoder.from_pretrained(folder, runtime="onnx"), LogMelConfig()
    front_end = mel_spectrogram(config)

    def plain() -> Vectors:
        """The same windows, in the same batches."""
        wave = librosa.load(path, sr=config.sample_rate)[0]
        waves = [segment.waveform for segment in iter_segments([wave], config.sample_rate, encoder.windows)]
        vectors = []
        with torch.inference_mode():
            for rows in batches_of_equal_length(waves):
                batch = torch.from_numpy(np.stack([waves[row] for row in rows]))
                log_mel = torch.log(front_end(batch) + config.log_eps)
                vectors.append(tower.plain.get_audio_features(log_mel[:, None]).pooler_output)
            return torch.nn.functional.normalize(torch.cat(vectors).sum(dim=0, keepdim=True)).numpy()

    return {name: lambda: encoder.encode_audio([path]), "librosa, nnAudio, PyTorch": plain}


def _window_samples(encoder: Encoder) -> int:
    return round(encoder.windows.window_s * encoder.sample_rate)
