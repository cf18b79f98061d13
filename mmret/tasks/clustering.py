"""Clustering of an index, so that a search of millions of windows need not read them all."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmret.errors import MmretError, ModelFormatError, QueryError
from mmret.index.cluster_file import save
from mmret.index.clusters import Asked, Recall, cluster, sampled, with_recall
from mmret.index.store import IndexStore
from mmret.tasks.search_encoder import SearchEncoder

WORTH_IT = 100_000  # windows; an exact search of fewer takes milliseconds
STORED_QUERIES = 200
SAMPLE_TABLE = Path(__file__).resolve().parent.parent / "samples" / "samples.csv"


@dataclass(frozen=True)
class ClusterReport:
    """What was built, what share of the vectors a search reads, and what share of the nearest ones it finds."""

    windows: int
    clusters: int
    probes: int
    share_read: float
    recalls: list[Recall]


def cluster_index(
    store: IndexStore, encoder: SearchEncoder, sentences: Sequence[str] | None, *, recall: float
) -> ClusterReport:
    """Build clusters and choose how many a search reads: so many that sounds and sentences both get the recall.

    Measured against an exact search, with stored vectors and with `sentences`: where none are given, with those that
    describe the sample recordings, if the model reads text. Nothing is changed on an error.
    """
    if not 0 < recall <= 1:
        raise QueryError(f"recall is {recall}, it must be above 0 and at most 1")
    if sentences is not None and not (sentences and all(map(str.strip, sentences))):
        raise QueryError("a sentence to measure with is empty, or there is none")
    with store.writer() as writer:
        with store.snapshot() as snapshot:
            windows, maps = snapshot.window_count(), list(snapshot.maps)
        if windows < WORTH_IT:
            raise MmretError(
                f"{store.folder} holds {windows} windows: an exact search of them takes milliseconds. "
                f"Clusters are built from {WORTH_IT} windows on"
            )
        asked = [Asked("stored windows", sampled(maps, STORED_QUERIES, seed=1), own=1)]
        asked += _asked_in_words(encoder, sentences)
        clusters, recalls = with_recall(cluster(maps), maps, asked, recall)
        save(writer, clusters, recalls)
    share = clusters.probes * float(np.diff(clusters.starts).mean()) / len(clusters.positions)
    return ClusterReport(windows, len(clusters.centroids), clusters.probes, share, recalls)


def _asked_in_words(encoder: SearchEncoder, sentences: Sequence[str] | None) -> list[Asked]:
    """Queries of the sentences, or of the sample recordings' captions where the model reads them."""
    try:
        vectors = encoder.encode_text(list(_sample_captions() if sentences is None else sentences))
    except ModelFormatError:
        if sentences is not None:
            raise
        return []
    return [Asked("sentences", np.ascontiguousarray(vectors, np.float32))]


def _sample_captions() -> list[str]:
    with SAMPLE_TABLE.open(encoding="utf-8", newline="") as table:
        return [row["caption"] for row in csv.DictReader(table)]
