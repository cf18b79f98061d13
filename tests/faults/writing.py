"""Rounds of writing in which every file of an index changes at once, so that a reader can tell rounds apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmret.index import IndexStore
from mmret.index.compaction import compact
from tests.index.made_up import DIM, encoded

FILES = 4
COMPACT_EVERY = 7
_STEP = np.pi / 5000  # of the angle that tells the round


def vectors_of(number: int) -> NDArray[np.float32]:
    """Two equal unit vectors (2, DIM) that hold the number of a round."""
    vectors = np.zeros((2, DIM), np.float32)
    vectors[:, 0], vectors[:, 1] = np.cos(number * _STEP), np.sin(number * _STEP)
    return vectors


def round_of(vector: NDArray[np.floating]) -> int:
    """Number of the round that a vector (DIM,) is of."""
    return round(float(np.arctan2(vector[1], vector[0])) / _STEP)


def write_round(store: IndexStore, number: int) -> None:
    """Replace every file, in one commit; compact now and then."""
    with store.writer() as writer:
        writer.commit([encoded(writer, str(file), vectors_of(number)) for file in range(FILES)])
    if number % COMPACT_EVERY == 0:
        compact(store)
