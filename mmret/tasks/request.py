"""What is asked of an index: how many hits of which kind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmret.errors import QueryError
from mmret.index.clusters import Clusters
from mmret.index.merge import MergedHit, MergeOptions, ScoredWindow, merge_hits
from mmret.index.rows import WindowRow
from mmret.index.search import Match, nearest
from mmret.index.snapshot import Snapshot

NEAR_THE_BEST = MergeOptions(relative=0.9)
MAX_WINDOWS_READ = 20_000


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
        results: list[list[MergedHit]] = [[] for _ in queries]
        waiting = list(range(len(queries)))
        count = max(50, 10 * self.k)
        while waiting:
            matches_of = nearest(snapshot, queries[waiting], count, keep=keep, clusters=clusters)
            found = dict(zip(waiting, matches_of, strict=True))
            for query, matches in found.items():
                results[query] = self._joined(matches)
            waiting = [query for query, matches in found.items() if self._lacks(results[query], matches, count)]
            count *= 4
        return results

    def _lacks(self, hits: list[MergedHit], matches: list[Match], count: int) -> bool:
        """Whether windows beyond the `count` nearest could make another hit."""
        all_read = len(matches) < count or count >= MAX_WINDOWS_READ
        too_low = self.min_score is not None and bool(matches) and matches[-1].score < self.min_score
        return len(hits) < self.k and not all_read and not too_low

    def _hides(self, window: WindowRow, file: int) -> bool:
        assert self.without is not None
        overlaps = window.start_s < self.without.stop_s and window.stop_s > self.without.start_s
        return window.file == file and overlaps

    def _joined(self, matches: list[Match]) -> list[MergedHit]:
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
