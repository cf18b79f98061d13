"""Exact nearest windows to a query, straight from the memory-mapped vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmret.index.rows import WindowRow
from mmret.index.segments_file import SegmentMap
from mmret.index.snapshot import Snapshot

ROWS_AT_ONCE = 65_536  # of vectors that are not stored as float32


@dataclass(frozen=True)
class Match:
    """A live window and its cosine with the query."""

    window: WindowRow
    score: float


def nearest(
    snapshot: Snapshot, query: NDArray[np.float32], count: int, *, keep: Callable[[WindowRow], bool] | None = None
) -> list[Match]:
    """The `count` windows nearest to the unit vector query (dim,): by falling score, equal scores by rising id.

    `keep` tells which windows count at all. The result does not depend on how vectors are split over files.
    """
    query = np.ascontiguousarray(query, dtype=np.float32).reshape(1, -1)
    matches: list[Match] = []
    for vectors in snapshot.maps:
        matches += _nearest_in(snapshot, vectors, query, count, keep)
    matches.sort(key=lambda match: (-match.score, match.window.id))
    return matches[:count]


def _nearest_in(
    snapshot: Snapshot,
    segment: SegmentMap,
    query: NDArray[np.float32],
    count: int,
    keep: Callable[[WindowRow], bool] | None,
) -> list[Match]:
    """At least the `count` best windows of one segment, and all that tie with the last of them."""
    total = segment.segment.rows
    fetch = min(total, count + 16)
    while True:
        found_scores, found_rows = _best_rows(segment.vectors, query, fetch)
        scores = dict(zip(found_rows.tolist(), found_scores.tolist(), strict=True))
        windows = snapshot.windows_at(segment.segment.id, list(scores))
        matches = [Match(window, scores[window.row]) for window in windows if keep is None or keep(window)]
        if fetch == total or _complete(matches, count, float(found_scores[-1])):
            return matches
        fetch = min(total, fetch * 4)  # deleted or unwanted windows, or equal scores, took the places


def _best_rows(
    vectors: NDArray[np.floating[Any]], query: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores (count,) and rows (count,) of the nearest stored vectors (rows, dim), best first."""
    import faiss  # here, so that indexing and `mmret info` do not load it

    step = len(vectors) if vectors.dtype == np.float32 else ROWS_AT_ONCE
    scores, rows = np.zeros(0, np.float32), np.zeros(0, np.int64)
    for first in range(0, len(vectors), step):
        some = vectors[first : first + step].astype(np.float32, copy=False)
        # One query at a time: faiss then computes each row by itself, the same bits wherever the row lies.
        found = faiss.knn(query, some, min(count, len(some)), metric=faiss.METRIC_INNER_PRODUCT)
        scores = np.concatenate([scores, found[0][0]])
        rows = np.concatenate([rows, found[1][0] + first])
        best = np.lexsort((rows, -scores))[:count]
        scores, rows = scores[best], rows[best]
    return scores, rows


def _complete(matches: list[Match], count: int, last_score: float) -> bool:
    """Whether no row behind the last fetched one can be among the `count` best, not even by a tie."""
    return sum(match.score > last_score for match in matches) >= count
