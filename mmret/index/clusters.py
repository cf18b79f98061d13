"""Clusters of vectors, so that a search reads those near the query alone: faster, and a measured share is missed.

K-means (FAISS) over all vectors of an index. How many clusters a search has to read is measured, not assumed: the true
neighbours of known queries are found by an exact search, and each lies in some cluster. Rows that were added since are
all read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmret.errors import MmretError
from mmret.index.scan import Vectors, best_rows
from mmret.index.segments_file import SegmentMap

NEIGHBOURS = 10
LARGEST_SHARE = 0.25  # of the vectors; reading more than that in pieces gains nothing on reading all
_CLUSTERS_PER_ROOT = 4  # of the number of vectors
_SAMPLED_PER_CLUSTER = 40
_MOST_SAMPLED = 262_144
_ITERATIONS = 10
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Clusters:
    """Centroids (clusters, dim), and the positions (vectors,) around each, from `starts` (clusters + 1,) on.

    Positions count the rows of the segments of `covered` (segments, 2: id, rows) as if they were one. A search reads
    the `probes` clusters nearest to the query.
    """

    centroids: Vectors
    starts: NDArray[np.int64]
    positions: NDArray[np.int64]
    covered: NDArray[np.int64]
    probes: int

    def near(self, query: Vectors) -> dict[int, NDArray[np.int64]]:
        """Clustered rows, rising, that a search for a unit vector (dim,) reads, by segment."""
        probed = np.argsort(-(self.centroids @ query), kind="stable")[: self.probes]
        positions = np.concatenate([self.positions[self.starts[one] : self.starts[one + 1]] for one in probed])
        positions.sort()
        ends = np.cumsum(self.covered[:, 1])
        parts = np.split(positions, np.searchsorted(positions, ends[:-1]))
        firsts = ends - self.covered[:, 1]
        return {
            int(segment): rows - first for segment, rows, first in zip(self.covered[:, 0], parts, firsts, strict=True)
        }

    def fit(self, maps: Sequence[SegmentMap]) -> bool:
        """Whether every clustered row is still there: compaction moves them to other segments."""
        rows = {part.segment.id: part.segment.rows for part in maps}
        return all(rows.get(segment, 0) >= count for segment, count in self.rows_covered.items())

    def check(self, dim: int) -> None:
        """Raise ValueError where the numbers contradict each other; they may come from somebody else's file."""
        counts = self.starts, self.positions, self.covered
        if self.centroids.dtype != np.float32 or any(one.dtype != np.int64 for one in counts):
            raise ValueError("numbers of another kind")
        clusters, vectors = len(self.starts) - 1, len(self.positions)
        if self.centroids.shape != (clusters, dim) or self.covered.ndim != 2 or self.covered.shape[1] != 2:
            raise ValueError("arrays of another shape")
        if type(self.probes) is not int or not 1 <= self.probes <= clusters:
            raise ValueError(f"{self.probes} clusters to read")
        if self.starts[0] != 0 or self.starts[-1] != vectors or (np.diff(self.starts) < 0).any():
            raise ValueError("clusters without order")
        if (self.covered < 1).any() or self.covered[:, 1].sum() != vectors:
            raise ValueError("segments of another length")
        seen = np.zeros(vectors, bool)
        if self.positions.min() >= 0 and self.positions.max() < vectors:
            seen[self.positions] = True
        if not seen.all():
            raise ValueError("positions that are not each there once")

    @cached_property
    def rows_covered(self) -> dict[int, int]:
        """Clustered rows of each segment."""
        return {int(segment): int(rows) for segment, rows in self.covered}


@dataclass(frozen=True)
class Recall:
    """Share of the `NEIGHBOURS` truly nearest vectors that a search finds, on average over queries of one kind."""

    kind: str
    queries: int
    recall: float


@dataclass(frozen=True)
class Asked:
    """Queries (queries, dim) of one kind to measure with; the nearest `own` vectors of each are itself."""

    kind: str
    queries: Vectors
    own: int = 0


def cluster(maps: Sequence[SegmentMap], *, seed: int = 0) -> Clusters:
    """Cluster all vectors; one cluster is read until `with_recall` says how many must be."""
    import faiss

    total = sum(part.segment.rows for part in maps)
    count = min(total, max(1, round(_CLUSTERS_PER_ROOT * math.sqrt(total))))
    sample = sampled(maps, min(_MOST_SAMPLED, _SAMPLED_PER_CLUSTER * count), seed)
    options = {"niter": _ITERATIONS, "spherical": True, "seed": seed, "min_points_per_centroid": 1}
    means = faiss.Kmeans(sample.shape[1], count, **options)
    means.train(sample)
    cluster_of = np.concatenate(
        [
            means.index.search(part.vectors[first : first + _ROWS_AT_ONCE].astype(np.float32, copy=False), 1)[1][:, 0]
            for part in maps
            for first in range(0, part.segment.rows, _ROWS_AT_ONCE)
        ]
    )
    positions = np.argsort(cluster_of, kind="stable")
    return Clusters(
        centroids=np.ascontiguousarray(means.centroids, dtype=np.float32),
        starts=np.searchsorted(cluster_of[positions], np.arange(count + 1)).astype(np.int64),
        positions=positions.astype(np.int64),
        covered=np.array([(part.segment.id, part.segment.rows) for part in maps], np.int64),
        probes=1,
    )


def sampled(maps: Sequence[SegmentMap], count: int, seed: int) -> Vectors:
    """At most `count` stored vectors (n, dim), drawn without replacement."""
    total = sum(part.segment.rows for part in maps)
    positions = np.random.Generator(np.random.PCG64(seed)).choice(total, min(total, count), replace=False)
    return _rows_at(maps, np.sort(positions))


def with_recall(
    clusters: Clusters, maps: Sequence[SegmentMap], asked: Sequence[Asked], target: float
) -> tuple[Clusters, list[Recall]]:
    """Clusters that read just as many as give each kind of queries its recall, and the recalls that were measured."""
    ranks = [_cluster_ranks(clusters, maps, one) for one in asked]
    probes = max(_probes_for(of_kind, target) for of_kind in ranks)
    share = np.sort(np.diff(clusters.starts))[-probes:].sum() / len(clusters.positions)
    if share > LARGEST_SHARE:
        raise MmretError(
            f"to find {target:g} of the nearest windows, {probes} of {len(clusters.centroids)} clusters must be read: "
            "a search of everything is as fast. Nothing was built; ask for a lower recall, or go on without"
        )
    recalls = [
        Recall(one.kind, len(one.queries), float((of_kind < probes).mean()))
        for one, of_kind in zip(asked, ranks, strict=True)
    ]
    return replace(clusters, probes=probes), recalls


def _probes_for(ranks: NDArray[np.int64], target: float) -> int:
    """The smallest number of clusters that hold a share of `target` of the neighbours with these cluster ranks."""
    return int(np.sort(ranks, axis=None)[max(0, math.ceil(target * ranks.size) - 1)]) + 1


def _cluster_ranks(clusters: Clusters, maps: Sequence[SegmentMap], asked: Asked) -> NDArray[np.int64]:
    """How many clusters are nearer to each query than that of each true neighbour (queries, neighbours)."""
    cluster_of = np.empty(len(clusters.positions), np.int64)
    cluster_of[clusters.positions] = np.repeat(np.arange(len(clusters.centroids)), np.diff(clusters.starts))
    neighbours = _nearest_positions(maps, asked.queries, NEIGHBOURS + asked.own)[:, asked.own :]
    order = np.argsort(-(asked.queries @ clusters.centroids.T), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None], axis=1)
    return np.take_along_axis(ranks, cluster_of[neighbours], axis=1)


def _nearest_positions(maps: Sequence[SegmentMap], queries: Vectors, count: int) -> NDArray[np.int64]:
    """Positions (queries, count) of the nearest vectors of all segments, best first."""
    scores, positions, first = [], [], 0
    for part in maps:
        best = best_rows(part.vectors, queries, count)
        scores.append(np.stack([one.scores for one in best]))
        positions.append(np.stack([one.rows for one in best]) + first)
        first += part.segment.rows
    order = np.argsort(-np.concatenate(scores, axis=1), axis=1, kind="stable")[:, :count]
    return np.take_along_axis(np.concatenate(positions, axis=1), order, axis=1)


def _rows_at(maps: Sequence[SegmentMap], positions: NDArray[np.int64]) -> Vectors:
    """Vectors (n, dim) at rising positions."""
    parts, first = [], 0
    for part in maps:
        inside = positions[(positions >= first) & (positions < first + part.segment.rows)] - first
        parts.append(part.vectors[inside].astype(np.float32))
        first += part.segment.rows
    return np.concatenate(parts)
