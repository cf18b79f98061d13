"""What is timed, against whom: equal results first, or no time counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import librosa
import numpy as np
import soundfile
import torch
from nnAudio.features import MelSpectrogram
from numpy.typing import NDArray
from timing import Variants

from mmret.audio.decode import decode
from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.audio.logmel_torch import LogMelTorch
from mmret.encoder import Encoder
from mmret.index import IndexStore
from mmret.index.rows import Encoded, Recording
from mmret.index.search import nearest

FORMATS = ("wav", "flac", "mp3", "ogg")
QUERIES = 64
LOG_MEL_TOLERANCE = 2e-4  # float32 transforms, in the log domain
VECTOR_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Operation:
    """Variants of one job, ours first, the largest difference between their results, and what else is to be told."""

    name: str
    variants: Variants
    difference: float
    most_repetitions: int = 1_000_000
    facts: dict[str, float] = field(default_factory=dict)


def every(folder: Path, seconds: int, rows: int, dim: int) -> Iterator[Operation]:
    """All operations, with files made in `folder`."""
    yield log_mel(seconds)
    yield from (reading(folder, suffix, seconds) for suffix in FORMATS)
    yield from searches(folder, rows, dim)
    yield encoding()


def log_mel(seconds: int) -> Operation:
    """The front end of M2D at 16 kHz: one waveform -> natural-log mel power."""
    config = LogMelConfig()
    wave = noisy_tone(seconds, config.sample_rate)[:, 0].copy()
    ours, by_torch, tensor = LogMel(config), LogMelTorch(config), torch.from_numpy(wave)[None]
    options, module = mel_options(config), mel_spectrogram(config)

    def librosa_log_mel() -> NDArray[np.float32]:
        power = librosa.feature.melspectrogram(y=wave, **options, power=2, center=True, pad_mode="reflect")
        return np.log(power + np.float32(config.log_eps))

    def no_gradient(call: torch.nn.Module) -> NDArray[np.float32]:
        with torch.inference_mode():
            return call(tensor)[0].numpy()

    variants: Variants = {
        "mmret": lambda: ours(wave),
        "mmret, torch": lambda: no_gradient(by_torch),
        "nnAudio": lambda: np.log(no_gradient(module) + np.float32(config.log_eps)),
        "librosa": librosa_log_mel,
    }
    return Operation(f"log-mel of {seconds} s", variants, largest_difference(variants, LOG_MEL_TOLERANCE))


def mel_options(config: LogMelConfig) -> dict[str, Any]:
    """The front end in the words of librosa and nnAudio."""
    options: dict[str, Any] = {"sr": config.sample_rate, "n_fft": config.n_fft, "win_length": config.win_length}
    return options | {
        "hop_length": config.hop_length,
        "n_mels": config.n_mels,
        "fmin": config.f_min,
        "fmax": config.f_max,
    }


def mel_spectrogram(config: LogMelConfig) -> MelSpectrogram:
    """nnAudio's front end of power, (batch, time) -> (batch, mels, frames)."""
    return MelSpectrogram(**mel_options(config), power=2, pad_mode="reflect", verbose=False)


def reading(folder: Path, suffix: str, seconds: int) -> Operation:
    """A stereo file at 44.1 kHz -> mono at 16 kHz."""
    path = folder / f"sound.{suffix}"
    with soundfile.SoundFile(path, "w", 44_100, 2) as file:
        sound = noisy_tone(seconds, 44_100)
        for start in range(0, len(sound), 65_536):  # libsndfile's Vorbis encoder overflows the stack on more
            file.write(sound[start : start + 65_536])
    variants: Variants = {
        "mmret": lambda: decode(path, 16_000),
        "librosa.load": lambda: librosa.load(path, sr=16_000)[0],
    }
    return Operation(f"{seconds} s of {suffix} -> 16 kHz mono", variants, largest_difference(variants, 0.0))


def searches(folder: Path, rows: int, dim: int, k: int = 10) -> Iterator[Operation]:
    """One query, then many together, over all windows of an index; rows are looked up in SQLite, faiss counts them."""
    vectors = unit_vectors(rows + QUERIES, dim)
    stored, queries = vectors[:rows], vectors[rows:]
    flat = faiss.IndexFlatIP(dim)
    flat.add(stored)
    store = IndexStore.create(folder / f"index-{rows}x{dim}", dim=dim, meta={})
    with store.writer() as writer:
        bounds_s = [(float(row), row + 1.0) for row in range(rows)]
        writer.commit([Encoded(Recording(b"/", b"/a", 0, 0, b"a"), 1, rows, bounds_s, writer.append(stored))])

    def ours(asked: NDArray[np.float32]) -> list[list[int]]:
        with store.snapshot() as snapshot:
            return [[match.window.id - 1 for match in matches] for matches in nearest(snapshot, asked, k)]

    def theirs(asked: NDArray[np.float32]) -> list[list[int]]:
        return flat.search(asked, k)[1].tolist()

    def theirs_by_blas(asked: NDArray[np.float32]) -> list[list[int]]:
        usual = faiss.cvar.distance_compute_blas_threshold
        faiss.cvar.distance_compute_blas_threshold = 1
        try:
            return theirs(asked)
        finally:
            faiss.cvar.distance_compute_blas_threshold = usual

    for asked, peers in (
        (queries[:1], {"faiss IndexFlatIP": theirs}),
        (queries, {"faiss IndexFlatIP": theirs, "faiss, BLAS threshold 1": theirs_by_blas}),
    ):
        name = f"exact search, {len(asked)} {'query' if len(asked) == 1 else 'queries'} over {rows} x {dim}"
        if any(peer(asked) != ours(asked) for peer in peers.values()):
            raise ValueError(f"{name}: mmret and faiss find other rows")
        variants = {title: partial(call, asked) for title, call in {"mmret": ours, **peers}.items()}
        yield Operation(name, variants, 0.0)


def encoding(windows: int = 8) -> Operation:
    """Windows of sound -> vectors with the shipped model: as indexing does it, and by torch."""
    exported = Encoder.from_pretrained("mmret-mini", runtime="onnx")
    by_torch = Encoder.from_pretrained("mmret-mini", runtime="torch")
    samples = round(exported.windows.window_s * exported.sample_rate)
    sound = noisy_tone(windows * 10, exported.sample_rate)[:, 0]
    waves = [sound[start : start + samples] for start in range(0, windows * samples, samples)]
    variants: Variants = {
        "mmret": lambda: exported.encode_waveforms(waves),
        "PyTorch": lambda: by_torch.encode_waveforms(waves),
    }
    return Operation(f"{windows} windows -> vectors", variants, largest_difference(variants, VECTOR_TOLERANCE))


def unit_vectors(rows: int, dim: int) -> NDArray[np.float32]:
    """Random directions (rows, dim)."""
    vectors = np.random.Generator(np.random.PCG64(0)).standard_normal((rows, dim), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def noisy_tone(seconds: int, sample_rate: int) -> NDArray[np.float32]:
    """A rising tone in noise, (time, 2)."""
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    noise = np.random.Generator(np.random.PCG64(0)).standard_normal((len(time_s), 2))
    tone = np.sin(2 * np.pi * (200 + 150 * time_s) * time_s)
    return (0.3 * tone[:, None] + 0.02 * noise).astype(np.float32)


def largest_difference(variants: Variants, tolerance: float) -> float:
    """Largest difference of the others' results from ours; ValueError beyond the tolerance."""
    ours, *theirs = [np.asarray(call(), np.float32) for call in variants.values()]
    difference = max(float(np.abs(ours - other).max()) for other in theirs)
    if not difference <= tolerance:
        raise ValueError(f"{', '.join(variants)} differ by {difference:g}: times of unequal results say nothing")
    return difference
