"""Crops with background noise, for a network that hears the mixture while its teacher hears the clean sound.

M2D-X's data set, and with stored targets that of M2D-AS and M2D-S: every batch holds `log_mel`, what the online and the
target network get, `teacher_log_mel`, and `offline_target` where there are targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmret.data.crops import crop_or_pad, draw_start
from mmret.data.log_mel_crops import LogMelCrops, mix_background, repeat_to
from mmret.data.log_mel_folder import Array, LogMels
from mmret.errors import DataLayoutError

OnlineInput = Literal["mixed", "clean"]


class RepeatedLogMels:
    """A short list of log-mels repeated, and cut, to exactly `count` entries; a longer one stays as it is.

    An epoch of a few hundred recordings would be over before its batches differ.
    """

    def __init__(self, log_mels: LogMels, count: int) -> None:
        self._log_mels, listed = log_mels, len(log_mels.names)
        self.names = [log_mels.names[entry % listed] for entry in range(max(count, listed))]

    def __getitem__(self, index: int) -> Array:
        """Log-mel (mels, frames)."""
        return self._log_mels[index % len(self._log_mels.names)]


@dataclass(frozen=True)
class Background:
    """Noise to mix in: its log-mels, their own mean, and the share `ratio` of its power in the mixture."""

    log_mels: LogMels
    mean: float
    ratio: float

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0.0 <= self.ratio <= 1.0:
            raise DataLayoutError(f"noise_ratio is {self.ratio}; it is a share from 0 (no noise) to 1 (noise alone)")
        if not len(self.log_mels.names):
            raise DataLayoutError("the folder of background noise is empty")


class OfflineTargets(Protocol):
    """What the additional task is to predict of a crop, by the number of the recording."""

    @property
    def dim(self) -> int:
        """Width of a target."""
        ...

    def of(self, index: int, start: int, frames: int) -> NDArray[np.floating]:
        """Target of the crop that begins at frame `start`: (dim,), or (time, dim) one a patch column."""
        ...


class PairedCrops:
    """Pairs of the same crop, clean and mixed with background noise.

    `online` says which of the two the network gets; its teacher gets the other. The papers describe "mixed", which is
    the default; the published trainer of M2D-X hands them over the other way round.
    """

    def __init__(
        self,
        crops: LogMelCrops,
        *,
        background: Background | None = None,
        targets: OfflineTargets | None = None,
        online: OnlineInput = "mixed",
    ) -> None:
        if online not in get_args(OnlineInput):
            raise DataLayoutError(f"online is {online!r}; use one of {', '.join(get_args(OnlineInput))}")
        self._crops, self._background, self._targets, self._online = crops, background, targets, online
        self._order = lru_cache(maxsize=4)(self._noise_order)

    def __len__(self) -> int:
        """Count the recordings, repeated ones included."""
        return len(self._crops)

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        """Normalised crops (batch, 1, mels, frames) of these recordings in this epoch, and their targets."""
        drawn = [self._crops.draw(index, epoch, seed) for index in indices]
        clean = np.stack([crop for _, crop in drawn]).astype(np.float32) - np.float32(self._crops.mean)
        mixed = clean
        if self._background is not None:
            noise = np.stack([self._noise(index, epoch, seed) for index in indices])
            mixed = mix_background(clean, noise, self._background.ratio)
        online, teacher = (mixed, clean) if self._online == "mixed" else (clean, mixed)
        batch = {"log_mel": self._scaled(online), "teacher_log_mel": self._scaled(teacher)}
        if self._targets is not None:
            frames = self._crops.frames
            targets = [self._targets.of(i, start, frames) for i, (start, _) in zip(indices, drawn, strict=True)]
            batch["offline_target"] = torch.from_numpy(np.stack(targets)).float()
        return batch

    def _scaled(self, centred: NDArray[np.float32]) -> Tensor:
        # both are divided by the deviation of the main set: the mixture must not be told from clean sound by its scale
        return torch.from_numpy(centred / np.float32(self._crops.std))[:, None]

    def _noise(self, index: int, epoch: int, seed: int) -> NDArray[np.float32]:
        """Crop of background noise for one recording, its mean removed; short noise is repeated, never padded."""
        assert self._background is not None
        count = len(self._background.log_mels.names)
        row = int(self._order(seed, epoch, index // count)[index % count])
        noise = repeat_to(self._background.log_mels[row], self._crops.frames)
        generator = self._crops.generator_of(seed, epoch, len(self) + index)
        start = draw_start(noise.shape[-1], self._crops.frames, generator)
        return crop_or_pad(noise, self._crops.frames, start).astype(np.float32) - np.float32(self._background.mean)

    def _noise_order(self, seed: int, epoch: int, refill: int) -> NDArray[np.int64]:
        """Shuffled list of noises; a list that is used up is refilled in another order."""
        assert self._background is not None
        generator = self._crops.generator_of(seed, epoch, 2 * len(self) + refill)
        return generator.permutation(len(self._background.log_mels.names))


class WeightedSamples:
    """Samples of another data set, drawn with replacement in proportion to their weights, anew in every epoch."""

    def __init__(
        self, data: PairedCrops, weights: NDArray[np.float64], generator_of: Callable[..., np.random.Generator]
    ) -> None:
        if len(weights) != len(data) or not (weights > 0).all():
            raise DataLayoutError(f"{len(data)} samples need as many weights above 0, not {len(weights)}")
        self._data, self._shares, self._generator_of = data, weights / weights.sum(), generator_of
        self._rows = lru_cache(maxsize=2)(self._draw)

    def __len__(self) -> int:
        """Count the samples of an epoch."""
        return len(self._data)

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        """Batch of the samples that stand at these places in this epoch."""
        rows = self._rows(seed, epoch)
        return self._data.batch([int(rows[index]) for index in indices], epoch, seed)

    def _draw(self, seed: int, epoch: int) -> NDArray[np.int64]:
        generator = self._generator_of(seed, epoch, 4 * len(self))
        return generator.choice(len(self), size=len(self), p=self._shares)
