"""Clusters: what is read is what was measured, what was added since is found, and a file of them is not trusted."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmret.errors import MmretError
from mmret.index import IndexStore, row_writer
from mmret.index.check import check
from mmret.index.cluster_file import StoredClusters, load, save
from mmret.index.clusters import NEIGHBOURS, Asked, Clusters, cluster, sampled, with_recall
from mmret.index.compaction import compact
from mmret.index.rows import Encoded, Recording
from mmret.index.scan import Vectors
from mmret.index.search import nearest

DIM = 16
ROWS = 2_000


def clustered_rows(rows: int, seed: int) -> Vectors:
    """Unit vectors (rows, DIM) around a hundred directions that do not depend on the seed."""
    centres = np.random.Generator(np.random.PCG64(99)).standard_normal((100, DIM))
    generator = np.random.Generator(np.random.PCG64(seed))
    vectors = centres[generator.integers(0, 100, rows)] + 0.3 * generator.standard_normal((rows, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def add(store: IndexStore, name: str, vectors: Vectors) -> None:
    with store.writer() as writer:
        bounds_s = [(float(row), row + 1.0) for row in range(len(vectors))]
        recording = Recording(b"/", f"/{name}".encode(), 0, 0, name.encode())
        writer.commit([Encoded(recording, 1, len(vectors), bounds_s, writer.append(vectors))])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[IndexStore]:
    """Vectors in three segments."""
    with closing(IndexStore.create(tmp_path / "index", dim=DIM, meta={})) as opened:
        opened.segment_bytes = 900 * opened.layout.row_bytes
        add(opened, "a", clustered_rows(ROWS, 0))
        yield opened


def built(store: IndexStore, target: float) -> StoredClusters:
    """Clusters that were measured and stored."""
    with store.writer() as writer:
        with store.snapshot() as snapshot:
            maps = list(snapshot.maps)
        clusters, recalls = with_recall(cluster(maps), maps, [Asked("rows", sampled(maps, 100, 5), own=1)], target)
        save(writer, clusters, recalls)
    with store.snapshot() as snapshot:
        return load(snapshot)


def found(store: IndexStore, queries: Vectors, clusters: Clusters | None) -> list[set[int]]:
    with store.snapshot() as snapshot:
        results = nearest(snapshot, queries, NEIGHBOURS, clusters=clusters)
    return [{match.window.id for match in matches} for matches in results]


def test_a_search_of_clusters_finds_the_share_that_was_measured(store: IndexStore) -> None:
    stored = built(store, 0.9)
    assert 0.9 <= stored.recall < 1
    assert stored.clusters.probes < len(stored.clusters.centroids) / 4
    with store.snapshot() as snapshot:
        queries = sampled(snapshot.maps, 100, 5)  # those that were measured with: the same share, not one alike
    pairs = zip(found(store, queries, None), found(store, queries, stored.clusters), strict=True)
    # the stored vector itself, always found, was not counted
    missed = [len(exact - approximate) / NEIGHBOURS for exact, approximate in pairs]
    assert 1 - np.mean(missed) == pytest.approx(stored.recall, abs=0.02)


def test_reading_every_cluster_is_exact_search(store: IndexStore) -> None:
    stored = built(store, 0.9)
    everything = replace(stored.clusters, probes=len(stored.clusters.centroids))
    queries = clustered_rows(20, 7)
    with store.snapshot() as snapshot:
        assert nearest(snapshot, queries, 30, clusters=everything) == nearest(snapshot, queries, 30)


def test_what_is_added_later_is_found_and_what_is_removed_is_not(store: IndexStore) -> None:
    clusters = built(store, 0.9).clusters
    fresh = clustered_rows(30, 8)
    add(store, "b", fresh)
    assert all(ROWS + 1 + row in ids for row, ids in enumerate(found(store, fresh, clusters)))
    with store.writer() as writer:
        file = writer.file_at(b"/b")
        assert file is not None
        writer.remove([file], "removed")
    assert not any(max(ids) > ROWS for ids in found(store, fresh, clusters))


def test_compaction_parts_an_index_from_its_clusters(store: IndexStore) -> None:
    built(store, 0.9)
    add(store, "b", clustered_rows(30, 8))
    with store.writer() as writer:
        file = writer.file_at(b"/b")
        assert file is not None
        writer.remove([file], "removed")
    compact(store)
    with store.snapshot() as snapshot, pytest.raises(MmretError, match="has no clusters"):
        load(snapshot)
    assert list((store.folder / "cache").iterdir()) == []
    assert built(store, 0.9).recall >= 0.9
    assert check(store).problems == []


def test_clusters_that_gain_nothing_are_refused(store: IndexStore) -> None:
    with store.snapshot() as snapshot:
        maps = list(snapshot.maps)
    scattered = np.random.Generator(np.random.PCG64(3)).standard_normal((50, DIM)).astype(np.float32)
    with pytest.raises(MmretError, match="a search of everything is as fast"):
        with_recall(cluster(maps), maps, [Asked("anything", scattered)], 1.0)


def test_a_lost_or_changed_file_is_told(store: IndexStore) -> None:
    with store.snapshot() as snapshot, pytest.raises(MmretError, match="has no clusters: build them with"):
        load(snapshot)
    known = built(store, 0.9)
    [path] = (store.folder / "cache").iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with store.snapshot() as snapshot:
        with pytest.raises(MmretError, match="has damaged clusters"):
            load(snapshot)
        assert load(snapshot, known) is known
    path.write_bytes(bytes(4 * 2**20))
    with store.snapshot() as snapshot, pytest.raises(MmretError, match="has damaged clusters"):
        load(snapshot)
    path.unlink()
    with store.snapshot() as snapshot, pytest.raises(MmretError, match="has lost its clusters"):
        load(snapshot)


def crafted(**changes: Any) -> bytes:
    """A file of clusters for one segment of two rows, with some arrays replaced."""
    arrays: dict[str, Any] = {
        "centroids": np.ones((1, DIM), np.float32),
        "starts": np.array([0, ROWS]),
        "positions": np.arange(ROWS),
        "covered": np.array([[1, 900], [2, 900], [3, 200]]),
        "facts": np.frombuffer(b'{"probes": 1, "recalls": [{"kind": "rows", "queries": 1, "recall": 1.0}]}', np.uint8),
    }
    content = io.BytesIO()
    (np.savez_compressed if changes.pop("compress", False) else np.savez)(content, **(arrays | changes))
    return content.getvalue()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"compress": True}, "compressed"),
        ({"centroids": np.ones((2, DIM), np.float32)}, "another shape"),
        ({"centroids": np.ones((1, DIM))}, "another kind"),
        ({"starts": np.array([0, ROWS + 1])}, "without order"),
        ({"starts": np.array([5, ROWS])}, "without order"),
        ({"positions": np.full(ROWS, 7)}, "each there once"),
        ({"positions": np.arange(ROWS) - 1}, "each there once"),
        ({"covered": np.array([[1, 900], [2, 900], [3, -200]])}, "another length"),
        ({"covered": np.array([1, 900])}, "another shape"),
        ({"facts": np.frombuffer(b'{"probes": 2, "recalls": []}', np.uint8)}, "2 clusters to read"),
        ({"facts": np.frombuffer(b'{"probes": 1}', np.uint8)}, "recalls"),
        ({"facts": np.frombuffer(b"[", np.uint8)}, "make no sense"),
        ({"facts": np.array(["probes"], object)}, "make no sense"),
    ],
)
def test_a_file_that_somebody_made_up_is_refused(store: IndexStore, changes: dict[str, Any], why: str) -> None:
    built(store, 0.9)
    [path] = (store.folder / "cache").iterdir()
    for payload, sound in ((crafted(), True), (crafted(**changes), False)):
        path.write_bytes(payload)
        with store.writer() as writer, row_writer.generation(writer.connection):
            writer.connection.execute("UPDATE cache SET sha256 = ?", (hashlib.sha256(payload).digest(),))
        with store.snapshot() as snapshot:
            if sound:
                assert load(snapshot).recall == 1
            else:
                with pytest.raises(MmretError, match=why):
                    load(snapshot)
