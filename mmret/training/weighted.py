"""Epochs that see only some of the samples, the rare ones more often: weighted draws without replacement."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmret.training.fit import TrainingData


def label_balancing_weights(
    targets: NDArray[np.bool_], *, smoothing: float = 0.01, power: float = 1 / 1.5
) -> NDArray[np.float64]:
    """Weight of each clip (clips,) from multi-hot targets (clips, classes), as AudioSet is fine-tuned on (EVAR).

    A label weighs 1000 / (its count + smoothing), a clip the sum over its labels, to the given power.
    """
    of_labels = 1000.0 / (targets.sum(axis=0) + smoothing)
    weights: NDArray[np.float64] = (targets @ of_labels) ** power
    return weights


class WeightedEpochs:
    """Data whose epochs are `per_epoch` samples of other data, drawn anew by weight and without replacement."""

    def __init__(self, data: TrainingData, weights: NDArray[np.float64], per_epoch: int) -> None:
        self._data, self._per_epoch = data, min(per_epoch, len(data))
        self._draw = lru_cache(maxsize=2)(lambda seed, epoch: _drawn(weights, self._per_epoch, seed, epoch))

    def __len__(self) -> int:
        """Count the samples of an epoch."""
        return self._per_epoch

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        """Samples of this epoch's draw."""
        return self._data.batch([int(row) for row in self._draw(seed, epoch)[list(indices)]], epoch, seed)


def _drawn(weights: NDArray[np.float64], count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Efraimidis and Spirakis (2006): the largest of u^(1/w), in logarithms, are a weighted draw one by one."""
    generator = np.random.Generator(np.random.PCG64([seed, epoch, len(weights)]))
    keys = np.log(generator.random(len(weights))) / weights
    drawn: NDArray[np.int64] = np.argsort(-keys, kind="stable")[:count]
    return drawn
