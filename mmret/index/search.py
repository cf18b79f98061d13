"""Nearest windows to queries, straight from the memory-mapped vectors: exactly, or among clusters near the query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmret.index.clusters import Clusters
from mmret.index.rows import WindowRow
from mmret.index.scan import Best, best_rows, exact_scores
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


@dataclass(frozen=True)
class _Part:
    """Vectors (n, dim) of a segment that are searched, and their rows (n,) in it."""

    segment: int
    vectors: NDArray[np.floating[Any]]
    rows: NDArray[np.int64] | range


def nearest(
    snapshot: Snapshot, queries: Queries, count: int, *, keep: Keep | None = None, clusters: Clusters | None = None
) -> list[list[Match]]:
    """The `count` windows nearest to each of the unit vectors (queries, dim): by falling score, then by rising id.

    `keep` tells which windows count at all. A query's result depends neither on how vectors are split over files nor
    on the queries beside it. With `clusters` only the windows in those near the query are looked at, and a share of
    the nearest ones is missed.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if clusters is not None:
        return [
            matches
            for query in queries
            for matches in _nearest_in(snapshot, _parts_near(snapshot, query, clusters), query[None], count, keep)
        ]
    parts = [_Part(one.segment.id, one.vectors, range(one.segment.rows)) for one in snapshot.maps]
    return [
        matches
        for first in range(0, len(queries), QUERIES_AT_ONCE)
        for matches in _nearest_in(snapshot, parts, queries[first : first + QUERIES_AT_ONCE], count, keep)
    ]


def scored(snapshot: Snapshot, query: Queries, windows: Sequence[WindowRow]) -> list[Match]:
    """Windows with their cosines with a unit vector (dim,), the same bits as `nearest` gives, in their order."""
    scores = np.empty(len(windows), np.float32)
    places = np.array([(window.segment, window.row) for window in windows], np.int64).reshape(-1, 2)
    for part in snapshot.maps:
        inside = np.flatnonzero(places[:, 0] == part.segment.id)
        of = np.zeros(len(inside), np.int64)
        scores[inside] = exact_scores(part.vectors, places[inside, 1], query[None], of)
    return [Match(window, score) for window, score in zip(windows, scores.tolist(), strict=True)]


def _parts_near(snapshot: Snapshot, query: Queries, clusters: Clusters) -> Iterator[_Part]:
    """Copies of the vectors near a query (dim,), and what was added since the clusters were built."""
    near = clusters.near(query)
    for one in snapshot.maps:
        covered = clusters.rows_covered.get(one.segment.id, 0)
        rows = near.get(one.segment.id)
        if rows is not None and len(rows):
            yield _Part(one.segment.id, one.vectors[rows], rows)
        if covered < one.segment.rows:
            yield _Part(one.segment.id, one.vectors[covered:], range(covered, one.segment.rows))


def _nearest_in(
    snapshot: Snapshot, parts: Iterable[_Part], queries: Queries, count: int, keep: Keep | None
) -> list[list[Match]]:
    found = [_nearest_in_part(snapshot, part, queries, count, keep) for part in parts]
    results = []
    for number in range(len(queries)):
        matches = [match for of_part in found for match in of_part[number]]
        matches.sort(key=lambda match: (-match.score, match.window.id))
        results.append(matches[:count])
    return results


def _nearest_in_part(
    snapshot: Snapshot, part: _Part, queries: Queries, count: int, keep: Keep | None
) -> list[list[Match]]:
    """At least the `count` best windows of one part for each query, and all that tie with the last of them."""
    total = len(part.vectors)
    fetch = min(total, count + SPARE)
    results: list[list[Match]] = [[] for _ in queries]
    waiting = list(range(len(queries)))
    while waiting:
        best = best_rows(part.vectors, queries[waiting], fetch)
        windows = _windows_by_row(snapshot, part, best, keep)
        for query, one in zip(waiting, best, strict=True):
            pairs = zip(one.rows.tolist(), one.scores.tolist(), strict=True)
            results[query] = [
                Match(window, score) for place, score in pairs for window in windows.get(part.rows[place], ())
            ]
        # a result is not complete where removed or unwanted windows, or equal scores, took the places
        waiting = [
            query
            for query, one in zip(waiting, best, strict=True)
            if fetch < total and not _complete(results[query], count, float(one.scores[-1]))
        ]
        fetch = min(total, fetch * 4)
    return results


def _windows_by_row(snapshot: Snapshot, part: _Part, best: list[Best], keep: Keep | None) -> dict[int, list[WindowRow]]:
    """Windows that count, by their row; recordings of equal content share rows."""
    places = np.unique(np.concatenate([one.rows for one in best])).tolist()
    windows: dict[int, list[WindowRow]] = {}
    for window in snapshot.windows_at(part.segment, [int(part.rows[place]) for place in places]):
        if keep is None or keep(window):
            windows.setdefault(window.row, []).append(window)
    return windows


def _complete(matches: list[Match], count: int, last_score: float) -> bool:
    """Whether no row behind the last fetched one can be among the `count` best, not even by a tie."""
    return sum(match.score > last_score for match in matches) >= count
