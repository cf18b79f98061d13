"""How far a mean over queries or clips could have moved with other clips: bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_COVERAGE = (2.5, 97.5)


@dataclass(frozen=True)
class Interval:
    """The middle 95 % of the bootstrapped means."""

    low: float
    high: float


def bootstrap_interval(
    values: NDArray[np.float64], groups: NDArray[np.int64], *, generator: np.random.Generator, draws: int = 1000
) -> Interval:
    """95 % interval of the mean of values (queries,), whole groups (queries,) drawn with replacement.

    The gallery stays as it is: only which queries are asked is drawn anew.

    >>> bootstrap_interval(np.ones(4), np.arange(4), generator=np.random.default_rng(0))
    Interval(low=1.0, high=1.0)
    """
    values = np.asarray(values, dtype=np.float64)
    _, member = np.unique(groups, return_inverse=True)
    sums = np.bincount(member, weights=values)
    counts = np.bincount(member)
    drawn = generator.multinomial(counts.size, np.full(counts.size, 1 / counts.size), size=draws)
    low, high = np.percentile((drawn @ sums) / (drawn @ counts), _COVERAGE)
    return Interval(float(low), float(high))
