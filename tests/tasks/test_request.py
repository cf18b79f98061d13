"""A hit is the same however many are asked for: that of all windows of its recording."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmret.index import IndexStore
from mmret.index.merge import MergedHit, MergeOptions, ScoredWindow, merge_hits
from mmret.index.rows import Encoded, Recording
from mmret.tasks import request
from mmret.tasks.request import NEAR_THE_BEST, Request

DIM = 4
HOP_S, WINDOW_S = 1.0, 2.0


def rows_with(cosines: NDArray[np.float64]) -> NDArray[np.float32]:
    """Unit vectors (n, DIM) with these cosines (n,) to the first axis."""
    vectors = np.zeros((len(cosines), DIM), np.float32)
    vectors[:, 0] = cosines
    vectors[:, 1] = np.sqrt(1 - cosines**2)
    return vectors


def add(store: IndexStore, files: list[NDArray[np.float32]]) -> None:
    """Recordings of overlapping windows."""
    with store.writer() as writer:
        for number, vectors in enumerate(files):
            bounds_s = [(HOP_S * row, HOP_S * row + WINDOW_S) for row in range(len(vectors))]
            recording = Recording(b"/", f"/{number}".encode(), 0, 0, str(number).encode())
            writer.commit([Encoded(recording, 1, len(vectors), bounds_s, writer.append(vectors))])


def hits(store: IndexStore, asked: Request) -> list[MergedHit]:
    query = np.eye(1, DIM, dtype=np.float32)
    with store.snapshot() as snapshot:
        return asked.merged(snapshot, query, None)[0]


def test_a_long_event_is_one_hit_for_any_k(tmp_path: Path) -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    rain = rows_with(generator.uniform(0.70, 0.72, 3000))
    with closing(IndexStore.create(tmp_path, dim=DIM, meta={})) as store:
        add(store, [rain, rows_with(np.array([0.1, 0.6, 0.1])), rows_with(np.array([0.3, 0.5]))])
        for k in (1, 2, 3, 40):
            found = hits(store, Request(k, None, NEAR_THE_BEST))
            assert [(one.item, one.start_s, one.stop_s) for one in found[:3]] == [
                (1, 0.0, 3001.0),
                (2, 1.0, 3.0),
                (3, 1.0, 3.0),
            ][:k]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=60), min_size=1, max_size=4),
    st.integers(1, 8),
    st.sampled_from([NEAR_THE_BEST, MergeOptions(relative=0.5), MergeOptions(relative=0.9, gap_s=1.0)]),
    st.sampled_from([None, 0.4]),
)
def test_hits_are_those_of_all_windows(
    files: list[list[int]], k: int, merge: MergeOptions, min_score: float | None
) -> None:
    vectors = [rows_with(np.array(file) / 21) for file in files]
    everything = [
        ScoredWindow(number + 1, HOP_S * row, HOP_S * row + WINDOW_S, float(vector[0]))
        for number, file in enumerate(vectors)
        for row, vector in enumerate(file)
    ]
    with tempfile.TemporaryDirectory() as folder, closing(IndexStore.create(Path(folder), dim=DIM, meta={})) as store:
        add(store, vectors)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(request, "LEAST_MARGIN_S", 2.0)
            patch.setattr(request, "FIRST_WINDOWS", 3)
            found = hits(store, Request(k, min_score, merge))
    assert found == merge_hits(everything, merge, min_score=min_score, top_k=k)
