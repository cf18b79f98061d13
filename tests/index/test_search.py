"""Search over segments is brute force over all live windows, however they were split."""

from __future__ import annotations

import tempfile
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmret.index import IndexStore
from mmret.index.check import check
from mmret.index.rows import Encoded, Recording, WindowRow
from mmret.index.search import nearest

DIM = 12


def unit_rows(rows: int, seed: int, distinct: int) -> NDArray[np.float32]:
    """Unit vectors (rows, DIM), at most `distinct` different ones, so that scores tie."""
    generator = np.random.Generator(np.random.PCG64(seed))
    bank = generator.standard_normal((distinct, DIM)).astype(np.float32)
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    return bank[generator.integers(0, distinct, rows)]


def fill(store: IndexStore, files: list[NDArray[np.float32]], removed: set[int]) -> None:
    """One file per array; those in `removed` are taken out again."""
    with store.writer() as writer:
        for number, vectors in enumerate(files):
            path = f"/{number}".encode()
            bounds = [(float(row), row + 1.0) for row in range(len(vectors))]
            recording = Recording(b"/", path, 0, 0, path)
            writer.commit([Encoded(recording, 1, len(vectors), bounds, writer.append(vectors))])
        stored = [writer.file_at(f"/{number}".encode()) for number in removed]
        writer.remove([file for file in stored if file is not None], "removed")


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    removed=st.sets(st.integers(0, 5)),
    distinct=st.integers(1, 50),
    count=st.integers(1, 60),
    rows_per_segment=st.integers(3, 100),
    seed=st.integers(0, 2**16),
)
def test_search_equals_brute_force(
    sizes: list[int], removed: set[int], distinct: int, count: int, rows_per_segment: int, seed: int
) -> None:
    vectors = unit_rows(sum(sizes), seed, distinct)
    files = np.split(vectors, np.cumsum(sizes)[:-1])
    query = unit_rows(1, seed + 1, 1)[0]
    removed = {number for number in removed if number < len(files)}
    owner = np.repeat(np.arange(len(files)), sizes)
    live = [row for row in range(len(vectors)) if owner[row] not in removed]
    exact = vectors.astype(np.float64) @ query.astype(np.float64)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(IndexStore.create(Path(folder) / "index", dim=DIM, meta={})) as store,
    ):
        store.segment_bytes = rows_per_segment * DIM * 4
        fill(store, files, removed)
        with store.snapshot() as snapshot:
            matches = nearest(snapshot, query[None], count)[0]
    found = [match.window.id - 1 for match in matches]
    # equal vectors have equal scores to the bit, so brute force in double precision orders them the same way
    assert found == sorted(live, key=lambda row: (-round(exact[row], 5), row))[:count] or np.allclose(
        [exact[row] for row in found], sorted((exact[row] for row in live), reverse=True)[:count], atol=1e-6
    )
    for one, next_one in pairwise(matches):
        assert (-one.score, one.window.id) < (-next_one.score, next_one.window.id)
    for match in matches:
        twins = [row for row in live if np.array_equal(vectors[row], vectors[match.window.id - 1])]
        assert [row for row in twins if row < match.window.id - 1 and row not in found] == []


def test_the_split_over_files_changes_no_bit_of_the_result(tmp_path: Path) -> None:
    vectors = unit_rows(500, 3, 300)
    query = unit_rows(1, 4, 1)[0]
    results = []
    for rows in (7, 64, 1000):
        with closing(IndexStore.create(tmp_path / str(rows), dim=DIM, meta={})) as store:
            store.segment_bytes = rows * DIM * 4
            fill(store, [vectors], set())
            with store.snapshot() as snapshot:
                results.append([(match.window.id, match.score) for match in nearest(snapshot, query[None], 100)[0]])
    assert results[0] == results[1] == results[2]


def test_half_precision_is_searched_exactly_as_it_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, query = unit_rows(300, 5, 200), unit_rows(1, 6, 1)[0]
    rounded = vectors.astype(np.float16).astype(np.float32)
    results = []
    for name, dtype, stored, rows_at_once in (("f32", "f32", rounded, 64), ("f16", "f16", vectors, 64)):
        monkeypatch.setattr("mmret.index.scan.ROWS_AT_ONCE", rows_at_once)
        with closing(IndexStore.create(tmp_path / name, dim=DIM, meta={}, dtype=dtype)) as store:
            store.segment_bytes = 100 * store.layout.row_bytes
            with store.writer() as writer:
                blocks = writer.append(stored)
                bounds = [(float(row), row + 1.0) for row in range(len(stored))]
                writer.commit([Encoded(Recording(b"/", b"/a", 0, 0, b"a"), 1, 300, bounds, blocks)])
            with store.snapshot() as snapshot:
                results.append([(match.window.id, match.score) for match in nearest(snapshot, query[None], 100)[0]])
                assert np.array_equal(np.concatenate([part.vectors for part in snapshot.maps]), rounded)
            assert check(store).problems == []
            assert check(store).vector_bytes == 300 * DIM * (2 if dtype == "f16" else 4)
    assert results[0] == results[1]


def test_half_precision_stays_within_its_rounding_of_full_precision(tmp_path: Path) -> None:
    vectors, query = unit_rows(300, 7, 300), unit_rows(1, 8, 1)[0]
    with closing(IndexStore.create(tmp_path, dim=DIM, meta={}, dtype="f16")) as store, store.writer() as writer:
        writer.commit([Encoded(Recording(b"/", b"/a", 0, 0, b"a"), 1, 1, [(0, 1)] * 300, writer.append(vectors))])
        with store.snapshot() as snapshot:
            scores = {match.window.id: match.score for match in nearest(snapshot, query[None], 300)[0]}
    exact = vectors @ query
    # |q . (v - round(v))| <= 2**-11 * sum |q_i v_i| <= 2**-11
    assert max(abs(scores[row + 1] - exact[row]) for row in range(300)) <= 2.0**-11


@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_queries_asked_together_or_alone_get_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr("mmret.index.scan.ROWS_PER_BLOCK", 32)
    monkeypatch.setattr("mmret.index.search.QUERIES_AT_ONCE", 5)
    vectors, queries = unit_rows(500, 9, 200), unit_rows(12, 10, 12)
    with closing(IndexStore.create(tmp_path, dim=DIM, meta={}, dtype=dtype)) as store:
        store.segment_bytes = 150 * store.layout.row_bytes
        fill(store, np.split(vectors, 10), {2, 5})
        with store.snapshot() as snapshot:
            alone = [nearest(snapshot, query[None], 20)[0] for query in queries]
            assert nearest(snapshot, queries, 20) == alone
            assert nearest(snapshot, queries[:0], 20) == []

            def keep(window: WindowRow) -> bool:
                return window.file % 2 == 0

            chosen = [nearest(snapshot, query[None], 20, keep=keep)[0] for query in queries]
            assert nearest(snapshot, queries, 20, keep=keep) == chosen
            assert all(len(matches) == 20 and all(keep(match.window) for match in matches) for matches in chosen)
