"""Exact nearest windows to queries, straight from the memory-mapped vectors.

Matrix products in float32 tell which rows can be among the best, with a bound on their rounding; those few are scored
again in double precision. So the same bits come out however rows and queries are split into products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmret.index.rows import WindowRow
from mmret.index.segments_file import ROUNDING, SegmentMap
from mmret.index.snapshot import Snapshot

ROWS_AT_ONCE = 65_536  # for one query
ROWS_PER_BLOCK = 2_048  # for many: their scores stay in the processor's cache
QUERIES_AT_ONCE = 256
_UNIT_ROUNDOFF = 2.0**-24

Vectors = NDArray[np.float32]
Keep = Callable[[WindowRow], bool]


@dataclass(frozen=True)
class Match:
    """A live window and its cosine with the query."""

    window: WindowRow
    score: float


@dataclass(frozen=True)
class _Found:
    """Best rows (count,) of a segment for one query and their scores (count,), best first."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


def nearest(snapshot: Snapshot, query: Vectors, count: int, *, keep: Keep | None = None) -> list[Match]:
    """The `count` windows nearest to the unit vector query (dim,): by falling score, equal scores by rising id.

    `keep` tells which windows count at all. The result does not depend on how vectors are split over files.
    """
    return nearest_each(snapshot, query[None], count, keep=keep)[0]


def nearest_each(snapshot: Snapshot, queries: Vectors, count: int, *, keep: Keep | None = None) -> list[list[Match]]:
    """`nearest` for each of queries (queries, dim), which read the vectors together; the same bits as one by one."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    results: list[list[Match]] = []
    for first in range(0, len(queries), QUERIES_AT_ONCE):
        some = queries[first : first + QUERIES_AT_ONCE]
        matches: list[list[Match]] = [[] for _ in some]
        for segment in snapshot.maps:
            for mine, found in zip(matches, _nearest_in(snapshot, segment, some, count, keep), strict=True):
                mine += found
        for mine in matches:
            mine.sort(key=lambda match: (-match.score, match.window.id))
        results += [mine[:count] for mine in matches]
    return results


def _nearest_in(
    snapshot: Snapshot, segment: SegmentMap, queries: Vectors, count: int, keep: Keep | None
) -> list[list[Match]]:
    """At least the `count` best windows of one segment for each query, and all that tie with the last of them."""
    total = segment.segment.rows
    fetch = min(total, count + 8)
    results: list[list[Match]] = [[] for _ in queries]
    waiting = list(range(len(queries)))
    while waiting:
        found = best_rows(segment.vectors, queries[waiting], fetch)
        rows = np.unique(np.concatenate([one.rows for one in found])).tolist()
        windows: dict[int, list[WindowRow]] = {}
        for window in snapshot.windows_at(segment.segment.id, rows):
            if keep is None or keep(window):
                windows.setdefault(window.row, []).append(window)
        for query, one in zip(waiting, found, strict=True):
            pairs = zip(one.rows.tolist(), one.scores.tolist(), strict=True)
            results[query] = [Match(window, score) for row, score in pairs for window in windows.get(row, ())]
        if fetch == total:
            break
        last = {query: float(one.scores[-1]) for query, one in zip(waiting, found, strict=True)}
        waiting = [query for query in waiting if not _complete(results[query], count, last[query])]
        fetch = min(total, fetch * 4)  # deleted or unwanted windows, or equal scores, took the places
    return results


def best_rows(vectors: NDArray[np.floating[Any]], queries: Vectors, count: int) -> list[_Found]:
    """The `count` rows of vectors (rows, dim) with the highest score for each of queries (queries, dim)."""
    pool = _Pool(queries, min(count, len(vectors)))
    step = max(count, ROWS_AT_ONCE if len(queries) == 1 else ROWS_PER_BLOCK)
    for first in range(0, len(vectors), step):
        some = vectors[first : first + step].astype(np.float32, copy=False)
        # a row times a matrix would be half as fast as a matrix times a column
        pool.add((some @ queries[0])[None] if len(queries) == 1 else queries @ some.T, first)
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
        self._seen = 0
        self._held = 0  # when the floors were raised last
        self._of: list[NDArray[np.int64]] = []
        self._rows: list[NDArray[np.int64]] = []
        self._scores: list[NDArray[np.float32]] = []

    def add(self, scores: NDArray[np.float32], first: int) -> None:
        """Take up what may count of scores (queries, rows) of the rows from `first` on."""
        if not self._seen and scores.shape[1] > self._count:
            kth = np.partition(scores, -self._count, axis=1)[:, -self._count]
            self._floors = kth - self._margins
        self._seen += scores.shape[1]
        places = np.flatnonzero(scores >= self._floors[:, None])
        if not len(places):
            return
        of, rows = np.divmod(places, scores.shape[1])
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

    def best(self, vectors: NDArray[np.floating[Any]]) -> list[_Found]:
        """The best rows of each query, scored in double precision, by falling score, then rising row."""
        self._raise_floors()
        of, rows = self._of[0], self._rows[0]
        steps = [slice(first, first + ROWS_PER_BLOCK) for first in range(0, len(rows), ROWS_PER_BLOCK)]
        exact = [_exact_scores(vectors, rows[some], self._queries[of[some]]) for some in steps]
        scores = np.concatenate(exact)
        order = np.lexsort((rows, -scores, of))
        starts = np.searchsorted(of, np.arange(len(self._queries)))
        mine = [order[start : start + self._count] for start in starts]
        return [_Found(rows[one], scores[one]) for one in mine]


def _exact_scores(vectors: NDArray[np.floating[Any]], rows: NDArray[np.int64], queries: Vectors) -> NDArray[np.float32]:
    """Scores (rows,) of each row with its query (rows, dim); a sum of its own, the same bits wherever the row lies."""
    products = vectors[rows].astype(np.float64)
    products *= queries
    scores: NDArray[np.float32] = products.sum(axis=1).astype(np.float32)
    return scores


def _complete(matches: list[Match], count: int, last_score: float) -> bool:
    """Whether no row behind the last fetched one can be among the `count` best, not even by a tie."""
    return sum(match.score > last_score for match in matches) >= count
