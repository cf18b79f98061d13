"""Exact nearest windows to a query, straight from the memory-mapped vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmret.index.rows import WindowRow
from mmret.index.segments_file import SegmentMap
from mmret.index.snapshot import Snapshot


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
    import faiss  # here, so that indexing and `mmret info` do not load it

    total = segment.segment.rows
    fetch = min(total, count + 16)
    while True:
        # One query at a time: faiss then computes each row by itself, the same bits wherever the row lies.
        found_scores, found_rows = faiss.knn(query, segment.vectors, fetch, metric=faiss.METRIC_INNER_PRODUCT)
        scores = dict(zip(found_rows[0].tolist(), found_scores[0].tolist(), strict=True))
        windows = snapshot.windows_at(segment.segment.id, list(scores))
        matches = [Match(window, scores[window.row]) for window in windows if keep is None or keep(window)]
        if fetch == total or _complete(matches, count, float(found_scores[0, -1])):
            return matches
        fetch = min(total, fetch * 4)  # deleted or unwanted windows, or equal scores, took the places


def _complete(matches: list[Match], count: int, last_score: float) -> bool:
    """Whether no row behind the last fetched one can be among the `count` best, not even by a tie."""
    return sum(match.score > last_score for match in matches) >= count
