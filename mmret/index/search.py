"""Exact nearest windows to queries, straight from the memory-mapped vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmret.index.rows import WindowRow
from mmret.index.scan import Best, best_rows
from mmret.index.segments_file import SegmentMap
from mmret.index.snapshot import Snapshot

QUERIES_AT_ONCE = 256
SPARE = 6  # rows fetched beyond those asked for, as some may have been removed

Queries = NDArray[np.float32]
Keep = Callable[[WindowRow], bool]


@dataclass(frozen=True)
class Match:
    """A live window and its cosine with the query."""

    window: WindowRow
    score: float


def nearest(snapshot: Snapshot, queries: Queries, count: int, *, keep: Keep | None = None) -> list[list[Match]]:
    """The `count` windows nearest to each of the unit vectors (queries, dim): by falling score, then by rising id.

    `keep` tells which windows count at all. A query's result depends neither on how vectors are split over files nor
    on the queries beside it.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    results: list[list[Match]] = []
    for first in range(0, len(queries), QUERIES_AT_ONCE):
        some = queries[first : first + QUERIES_AT_ONCE]
        found = [_nearest_in(snapshot, segment, some, count, keep) for segment in snapshot.maps]
        for number in range(len(some)):
            matches = [match for of_segment in found for match in of_segment[number]]
            matches.sort(key=lambda match: (-match.score, match.window.id))
            results.append(matches[:count])
    return results


def _nearest_in(
    snapshot: Snapshot, segment: SegmentMap, queries: Queries, count: int, keep: Keep | None
) -> list[list[Match]]:
    """At least the `count` best windows of one segment for each query, and all that tie with the last of them."""
    total = segment.segment.rows
    fetch = min(total, count + SPARE)
    results: list[list[Match]] = [[] for _ in queries]
    waiting = list(range(len(queries)))
    while waiting:
        best = best_rows(segment.vectors, queries[waiting], fetch)
        windows = _windows_by_row(snapshot, segment.segment.id, best, keep)
        for query, one in zip(waiting, best, strict=True):
            pairs = zip(one.rows.tolist(), one.scores.tolist(), strict=True)
            results[query] = [Match(window, score) for row, score in pairs for window in windows.get(row, ())]
        # a result is not complete where removed or unwanted windows, or equal scores, took the places
        waiting = [
            query
            for query, one in zip(waiting, best, strict=True)
            if fetch < total and not _complete(results[query], count, float(one.scores[-1]))
        ]
        fetch = min(total, fetch * 4)
    return results


def _windows_by_row(
    snapshot: Snapshot, segment: int, best: list[Best], keep: Keep | None
) -> dict[int, list[WindowRow]]:
    """Windows that count, by their row; recordings of equal content share rows."""
    windows: dict[int, list[WindowRow]] = {}
    for window in snapshot.windows_at(segment, np.unique(np.concatenate([one.rows for one in best])).tolist()):
        if keep is None or keep(window):
            windows.setdefault(window.row, []).append(window)
    return windows


def _complete(matches: list[Match], count: int, last_score: float) -> bool:
    """Whether no row behind the last fetched one can be among the `count` best, not even by a tie."""
    return sum(match.score > last_score for match in matches) >= count
