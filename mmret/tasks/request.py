"""What is asked of an index: how many hits of which kind."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmret.errors import QueryError
from mmret.index.clusters import Clusters
from mmret.index.merge import MergedHit, MergeOptions, ScoredWindow, merge_hits
from mmret.index.rows import WindowRow
from mmret.index.search import Keep, Match, nearest, scored
from mmret.index.snapshot import Snapshot

NEAR_THE_BEST = MergeOptions(relative=0.9)
FIRST_WINDOWS = 50
MAX_WINDOWS_READ = 20_000
LEAST_MARGIN_S = 30.0


@dataclass(frozen=True)
class Region:
    """Part of a file that a search leaves out."""

    path: bytes
    start_s: float
    stop_s: float


@dataclass(frozen=True)
class Request:
    """How many hits of which kind."""

    k: int
    min_score: float | None
    merge: MergeOptions | None
    without: Region | None = None

    def __post_init__(self) -> None:
        """Refuse a search for nothing."""
        if self.k < 1:
            raise QueryError(f"k is {self.k}, it must be at least 1")
        if self.min_score is not None and math.isnan(self.min_score):
            raise QueryError("min_score is not a number (NaN): no score is at least that")

    def merged(
        self, snapshot: Snapshot, queries: NDArray[np.float32], clusters: Clusters | None
    ) -> list[list[MergedHit]]:
        """The best k hits for each query; windows are read until there are k, or no more that could make one."""
        left_out = None if self.without is None else snapshot.file_at(self.without.path)
        keep = None if left_out is None else lambda window: not self._hides(window, left_out.id)
        gathered = [_Gathered(self, snapshot, query, keep) for query in queries]
        results: list[list[MergedHit]] = [[] for _ in queries]
        waiting = list(range(len(queries)))
        count = max(FIRST_WINDOWS, 10 * self.k)
        while waiting:
            matches_of = nearest(snapshot, queries[waiting], count, keep=keep, clusters=clusters)
            found = dict(zip(waiting, matches_of, strict=True))
            for query, matches in found.items():
                results[query] = gathered[query].hits_with(matches)
            waiting = [query for query, matches in found.items() if self._lacks(results[query], matches, count)]
            count *= 4
        return results

    def joined(self, matches: Iterable[Match]) -> list[MergedHit]:
        """The best k hits that these windows make."""
        windows = [
            ScoredWindow(match.window.file, match.window.start_s, match.window.stop_s, match.score) for match in matches
        ]
        if self.merge is not None:
            return merge_hits(windows, self.merge, min_score=self.min_score, top_k=self.k)
        return [
            MergedHit(one.item, one.start_s, one.stop_s, one.score, one.start_s, one.stop_s, 1)
            for one in windows
            if self.min_score is None or one.score >= self.min_score
        ][: self.k]

    def _lacks(self, hits: list[MergedHit], matches: list[Match], count: int) -> bool:
        """Whether windows beyond the `count` nearest could make another hit."""
        all_read = len(matches) < count or count >= MAX_WINDOWS_READ
        too_low = self.min_score is not None and bool(matches) and matches[-1].score < self.min_score
        return len(hits) < self.k and not all_read and not too_low

    def _hides(self, window: WindowRow, file: int) -> bool:
        assert self.without is not None
        overlaps = window.start_s < self.without.stop_s and window.stop_s > self.without.start_s
        return window.file == file and overlaps


class _Gathered:
    """Windows of one query: the nearest of all, and those around its hits, which may go on below the nearest.

    So a hit is as long whatever k is.
    """

    def __init__(self, request: Request, snapshot: Snapshot, query: NDArray[np.float32], keep: Keep | None) -> None:
        self._request = request
        self._snapshot = snapshot
        self._query = query
        self._keep = keep
        self._matches: dict[int, Match] = {}
        self._spans: dict[int, list[tuple[float, float]]] = {}  # by file, read whole

    def hits_with(self, matches: Iterable[Match]) -> list[MergedHit]:
        """The best hits of these windows and of all that was gathered before, each as long as it is."""
        self._take(matches)
        while True:
            hits = self._request.joined(self._matches.values())
            unfinished = [hit for hit in hits if self._may_go_on(hit)]
            if not unfinished:
                return hits
            for hit in unfinished:
                self._read_around(hit)

    def _take(self, matches: Iterable[Match]) -> None:
        self._matches.update((match.window.id, match) for match in matches)

    def _may_go_on(self, hit: MergedHit) -> bool:
        """Whether a window that touches a hit may not have been looked at."""
        merge = self._request.merge
        if merge is None:
            return False
        start_s, stop_s = hit.start_s - merge.gap_s, hit.stop_s + merge.gap_s
        spans = self._spans.get(int(hit.item), ())
        return not any(first_s <= start_s and stop_s <= last_s for first_s, last_s in spans)

    def _read_around(self, hit: MergedHit) -> None:
        """Score all windows near a hit, on both sides as far as it is long, so that few rounds reach its ends."""
        margin_s = max(LEAST_MARGIN_S, hit.stop_s - hit.start_s)
        span = hit.start_s - margin_s, hit.stop_s + margin_s
        windows = self._snapshot.windows_between(int(hit.item), *span)
        self._take(
            scored(self._snapshot, self._query, [one for one in windows if self._keep is None or self._keep(one)])
        )
        self._spans.setdefault(int(hit.item), []).append(span)
