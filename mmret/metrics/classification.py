"""Figures of classifiers: logits (clips, classes) against one-hot or multi-hot rows of the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmret.metrics.zero_shot import multi_label_average_precision, predict

# Student's t, two-sided 95 %, by degrees of freedom; protocols repeat a few seeds.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class ClassFigures:
    """How often a class is found (recall) and how often its name is right (precision, None where never given)."""

    clips: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class MeanOfSeeds:
    """Mean over runs with different seeds, and the half width of its 95 % interval (Student's t; None for one run)."""

    mean: float
    half_width: float | None


def accuracy(logits: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    """Share of the clips whose largest logit is that of their class."""
    return float((predict(logits) == targets.argmax(axis=1)).mean())


def mean_average_precision(logits: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    """Mean over the classes that have a clip of their average precision."""
    return multi_label_average_precision(logits, targets > 0).macro


def by_class(logits: NDArray[np.float32], targets: NDArray[np.float32]) -> list[ClassFigures]:
    """Figures of each class of single-label clips."""
    given, true = predict(logits), targets.argmax(axis=1)
    return [_of_class(given == number, true == number) for number in range(targets.shape[1])]


def _of_class(given: NDArray[np.bool_], true: NDArray[np.bool_]) -> ClassFigures:
    right = int((given & true).sum())
    recall = right / int(true.sum()) if true.any() else None
    return ClassFigures(int(true.sum()), recall, right / int(given.sum()) if given.any() else None)


def over_seeds(values: Sequence[float]) -> MeanOfSeeds:
    """Mean and interval of the figures of a few seeds.

    >>> over_seeds([0.5])
    MeanOfSeeds(mean=0.5, half_width=None)
    """
    mean, runs = float(np.mean(values)), len(values)
    if runs < 2:
        return MeanOfSeeds(mean, None)
    if runs - 1 > len(_T):
        raise ValueError(f"intervals are given for at most {len(_T) + 1} seeds, not {runs}")
    return MeanOfSeeds(mean, float(_T[runs - 2] * np.std(values, ddof=1) / np.sqrt(runs)))
