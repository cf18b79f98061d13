"""The best rows of a matrix of vectors for each of some queries, exactly.

Products in float32 tell which rows can be among the best, with a bound on their rounding; those few are scored again
in double precision. So the same bits come out however rows and queries are split into products, and whoever
multiplies them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmret.index.products import products
from mmret.index.segments_file import ROUNDING

ROWS_AT_ONCE = 65_536
ROWS_PER_BLOCK = 1_024  # what stays in the processor's cache, scores and widened numbers with it
RESCORED_AT_ONCE = 256
_UNIT_ROUNDOFF = 2.0**-24

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Best:
    """Best rows (count,) for one query and their scores (count,): by falling score, equal scores by rising row."""

    rows: NDArray[np.int64]
    scores: Vectors


def best_rows(vectors: NDArray[np.floating[Any]], queries: Vectors, count: int) -> list[Best]:
    """The `count` rows of vectors (rows, dim) with the highest score for each of queries (queries, dim).

    Vectors are of about unit length, float32 or float16; scores are of the vectors as they are stored.
    """
    pool = _Pool(queries, min(count, len(vectors)))
    columns = np.ascontiguousarray(queries.T)
    # one query reads each vector once, at the memory's speed: no other package would do it faster
    by_numpy = len(queries) == 1 and vectors.dtype == np.float32
    step = max(count, ROWS_AT_ONCE if by_numpy else ROWS_PER_BLOCK)
    for first in range(0, len(vectors), step):
        some = vectors[first : first + step]
        pool.add(some.astype(np.float32, copy=False) @ columns if by_numpy else products(some, columns), first)
    return pool.best(vectors)


class _Pool:
    """Rows that can be among the `count` best of each query, given what has been seen."""

    def __init__(self, queries: Vectors, count: int) -> None:
        self._queries = queries
        self._count = count
        # A float32 product over dim numbers, in whatever order, is within dim * 2**-24 * |query| * |row| of the exact
        # one; one more rounding where it becomes a score. Twice that, because both scores of a comparison are rounded.
        lengths = np.linalg.norm(queries, axis=1) * (1.01 + max(ROUNDING.values()))
        self._margins = (2 * (queries.shape[1] + 2) * _UNIT_ROUNDOFF * lengths).astype(np.float32)
        self._floors = np.full(len(queries), -np.inf, np.float32)
        self._started = False
        self._held = 0  # when the floors were raised last
        self._of: list[NDArray[np.int64]] = []
        self._rows: list[NDArray[np.int64]] = []
        self._scores: list[Vectors] = []

    def add(self, scores: Vectors, first: int) -> None:
        """Take up what may count of scores (rows, queries) of the rows from `first` on."""
        if not self._started and len(scores) > self._count:
            by_query = np.ascontiguousarray(scores.T)
            self._floors = np.partition(by_query, -self._count, axis=1)[:, -self._count] - self._margins
        self._started = True
        places = np.flatnonzero(scores >= self._floors)
        if not len(places):
            return
        rows, of = np.divmod(places, scores.shape[1])
        self._of.append(of)
        self._rows.append(rows + first)
        self._scores.append(scores.reshape(-1)[places])
        if sum(map(len, self._of)) > 2 * max(self._held, self._count):
            self._raise_floors()

    def _raise_floors(self) -> None:
        """Let go of rows that have fallen behind the best `count`."""
        of, rows, scores = np.concatenate(self._of), np.concatenate(self._rows), np.concatenate(self._scores)
        order = np.lexsort((-scores, of))
        of, rows, scores = of[order], rows[order], scores[order]
        starts = np.searchsorted(of, np.arange(len(self._queries) + 1))
        full = np.flatnonzero(np.diff(starts) >= self._count)
        kth = scores[starts[full] + self._count - 1]
        self._floors[full] = np.maximum(self._floors[full], kth - self._margins[full])
        stay = scores >= self._floors[of]
        self._of, self._rows, self._scores = [of[stay]], [rows[stay]], [scores[stay]]
        self._held = len(self._of[0])

    def best(self, vectors: NDArray[np.floating[Any]]) -> list[Best]:
        """The best rows of each query, scored in double precision."""
        self._raise_floors()
        of, rows = self._of[0], self._rows[0]
        scores = exact_scores(vectors, rows, self._queries, of)
        order = np.lexsort((rows, -scores, of))
        starts = np.searchsorted(of, np.arange(len(self._queries)))  # `of` rises already
        chosen = [order[start : start + self._count] for start in starts]
        return [Best(rows[one], scores[one]) for one in chosen]


def exact_scores(
    vectors: NDArray[np.floating[Any]], rows: NDArray[np.int64], queries: Vectors, of: NDArray[np.int64]
) -> Vectors:
    """Scores (n,) of `rows` (n,) of vectors with the queries `of` (n,): each is a sum of its own, wherever it lies."""
    scores = np.empty(len(rows), np.float32)
    for first in range(0, len(rows), RESCORED_AT_ONCE):
        some = slice(first, first + RESCORED_AT_ONCE)
        terms = vectors[rows[some]].astype(np.float64)
        terms *= queries[of[some]]
        scores[some] = terms.sum(axis=1)
    return scores
