"""Training batches of recordings: one random crop of each as a waveform, with what it is to be recognised as."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmret.audio.decode import decode
from mmret.data.crops import random_crop
from mmret.data.log_mel_crops import GeneratorOf, LogMelCrops

Waveform = NDArray[np.float32]


class WaveformCrops:
    """Random crops (batch, samples) as `waveform`; shorter recordings get zeros at their end.

    What is drawn comes from `generator_of(seed, epoch, index)`. Recordings are decoded when they are asked for.
    """

    def __init__(
        self, paths: Sequence[str | os.PathLike[str]], *, samples: int, sample_rate: int, generator_of: GeneratorOf
    ) -> None:
        self.paths, self.samples, self.sample_rate = paths, samples, sample_rate
        self._generator_of = generator_of

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self.paths)

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        """Crops of these recordings in this epoch."""
        crops = [self._crop(index, self._generator_of(seed, epoch, index)) for index in indices]
        return {"waveform": torch.from_numpy(np.stack(crops))}

    def _crop(self, index: int, generator: np.random.Generator) -> Waveform:
        return random_crop(decode(self.paths[index], self.sample_rate), self.samples, generator)


class WithTargets:
    """Crops together with `target` (batch, classes): one-hot or multi-hot rows, one a recording."""

    def __init__(self, crops: WaveformCrops | LogMelCrops, targets: NDArray[np.float32]) -> None:
        assert len(crops) == len(targets), (len(crops), len(targets))
        self._crops, self._targets = crops, torch.from_numpy(np.asarray(targets, np.float32))

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self._crops)

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        """Crops and targets of these recordings in this epoch."""
        return {**self._crops.batch(indices, epoch, seed), "target": self._targets[list(indices)]}
