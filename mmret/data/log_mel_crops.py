"""Training batches of stored log-mels: crops in time, normalised, with sentence vectors where captions belong to them.

M2D's data preparation; with given starts every function here is the reference's, number for number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmret.data.crops import Floats, crop_or_pad, draw_start, random_crop
from mmret.data.log_mel_folder import LogMels
from mmret.errors import DataLayoutError

GeneratorOf = Callable[[int, int, int], np.random.Generator]

STATISTICS_CROPS = 5000
EPS = float(np.finfo(np.float32).eps)


def repeat_to(log_mel: Floats, frames: int) -> Floats:
    """Double a log-mel (..., mels, time) in time until it has at least `frames`: for background noise."""
    while log_mel.shape[-1] < frames:
        log_mel = np.concatenate([log_mel, log_mel], axis=-1)  # type: ignore[assignment]
    return log_mel


def mix_background(clean: Floats, noise: Floats, ratio: float) -> Floats:
    """Log-mel of `ratio` parts noise power and 1 - ratio parts clean power; both with their own mean removed."""
    power = ratio * np.exp(noise) + (1.0 - ratio) * np.exp(clean)
    mixed: Floats = np.log(np.maximum(power, EPS).astype(clean.dtype))
    return mixed


def mean_and_std(crops: NDArray[np.floating]) -> tuple[float, float]:
    """Statistics to normalise by, over all values of crops (recordings, mels, frames)."""
    return float(crops.mean(dtype=np.float64)), float(crops.std(ddof=1, dtype=np.float64)) + EPS


def measure_statistics(
    log_mels: LogMels, frames: int, generator: np.random.Generator, *, crops: int = STATISTICS_CROPS
) -> tuple[float, float]:
    """Mean and standard deviation over random crops of recordings drawn with replacement."""
    # summed crop by crop: 5000 crops of 6 s would be a gigabyte
    values, mean, squares = 0, 0.0, 0.0
    for index in generator.integers(len(log_mels.names), size=crops):
        crop = random_crop(log_mels[int(index)], frames, generator).astype(np.float64)
        away = float(crop.mean()) - mean
        squares += float(crop.var()) * crop.size + away**2 * values * crop.size / (values + crop.size)
        values += crop.size
        mean += away * crop.size / values
    return mean, float(np.sqrt(squares / (values - 1))) + EPS


class LogMelCrops:
    """Random crops (batch, 1, mels, frames) as `log_mel`, normalised; what is drawn comes from `generator_of`."""

    def __init__(
        self, log_mels: LogMels, frames: int, statistics: tuple[float, float], generator_of: GeneratorOf
    ) -> None:
        """Crop `log_mels` to `frames`; statistics are (mean, std)."""
        self.log_mels, self.frames = log_mels, frames
        self.mean, self.std = statistics
        self.generator_of = generator_of

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self.log_mels.names)

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        """Crops of these recordings in this epoch."""
        crops = [self.draw(index, epoch, seed)[1] for index in indices]
        # stacked as stored, often float16: one conversion in torch is four times faster than numpy's casts
        log_mel = torch.from_numpy(np.stack(crops))[:, None].float()
        return {"log_mel": (log_mel - self.mean) / self.std}

    def draw(self, index: int, epoch: int, seed: int) -> tuple[int, NDArray[np.floating]]:
        """Start and crop (mels, frames), not normalised, of one recording in this epoch."""
        log_mel = self.log_mels[index]
        start = draw_start(log_mel.shape[-1], self.frames, self.generator_of(seed, epoch, index))
        return start, crop_or_pad(log_mel, self.frames, start)


class CaptionedCrops:
    """Crops with one sentence vector each as `text` (batch, dim), drawn anew at every visit of a recording.

    `vectors` holds (captions, dim) by file name, with or without its suffix, in one mapping or several.
    """

    def __init__(
        self, crops: LogMelCrops, vectors: Sequence[Mapping[str, NDArray[np.floating]]], generator_of: GeneratorOf
    ) -> None:
        """Look up the vectors of every recording of `crops`."""
        self._crops, self._generator_of = crops, generator_of
        self._vectors = [_vectors_of(name, vectors) for name in crops.log_mels.names]
        self.dim = int(self._vectors[0].shape[-1])

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self._crops)

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        """Crops and vectors of these recordings in this epoch."""
        captions = [self._caption(index, self._generator_of(seed, epoch, len(self) + index)) for index in indices]
        return {**self._crops.batch(indices, epoch, seed), "text": torch.from_numpy(np.stack(captions)).float()}

    def _caption(self, index: int, generator: np.random.Generator) -> NDArray[np.floating]:
        vectors = self._vectors[index]
        chosen: NDArray[np.floating] = vectors[generator.integers(len(vectors))]
        return chosen


def _vectors_of(name: str, sources: Sequence[Mapping[str, NDArray[np.floating]]]) -> NDArray[np.floating]:
    keys = (name, PurePath(name).stem)
    found = [np.atleast_2d(source[key]) for source in sources for key in dict.fromkeys(keys) if key in source]
    if not found:
        raise DataLayoutError(
            f"no sentence vector for {name}; a vectors file needs an entry {keys[0]!r} or {keys[1]!r}"
        )
    return np.concatenate(found)
