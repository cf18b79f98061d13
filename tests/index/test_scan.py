"""The scan finds what double precision finds, whatever is asked beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmret.index import scan
from mmret.index.scan import Vectors, best_rows


def unit_rows(rows: int, dim: int, distinct: int, seed: int) -> Vectors:
    """Unit vectors (rows, dim), at most `distinct` different ones."""
    generator = np.random.Generator(np.random.PCG64(seed))
    bank = generator.standard_normal((distinct, dim)).astype(np.float32)
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    return bank[generator.integers(0, distinct, rows)]


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(1, 300), st.integers(1, 40), st.integers(1, 300)),
    st.integers(1, 9),
    st.integers(1, 50),
    st.integers(),
    st.sampled_from([np.float32, np.float16]),
)
def test_best_rows_are_those_of_double_precision(
    shape: tuple[int, int, int], queries: int, count: int, seed: int, numbers: type[np.floating[Any]]
) -> None:
    rows, dim, distinct = shape
    vectors = unit_rows(rows, dim, distinct, abs(seed)).astype(numbers)
    asked = unit_rows(queries, dim, queries, abs(seed) + 1)
    exact = (vectors.astype(np.float64)[None] * asked[:, None]).sum(axis=2).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "ROWS_PER_BLOCK", 16)
        patch.setattr(scan, "ROWS_AT_ONCE", 64)
        patch.setattr(scan, "RESCORED_AT_ONCE", 7)
        found = best_rows(vectors, asked, count)
    for best, scores in zip(found, exact, strict=True):
        order = np.lexsort((np.arange(rows), -scores))[:count]
        assert best.rows.tolist() == order.tolist()
        assert np.array_equal(best.scores, scores[order])


def test_scores_that_single_precision_cannot_tell_apart_are_still_ordered() -> None:
    query = np.full(12, 12**-0.5, np.float32)
    # each row is moved by a few units in its last places: float32 products differ by their rounding alone
    vectors = np.repeat(query[None], 400, axis=0)
    vectors += np.random.Generator(np.random.PCG64(0)).integers(-3, 4, vectors.shape) * np.float32(2**-26)
    exact = (vectors.astype(np.float64) * query).sum(axis=1).astype(np.float32)
    for queries in (query[None], np.stack([query, query])):
        for best in best_rows(vectors, queries, 10):
            assert best.rows.tolist() == sorted(range(400), key=lambda row: (-exact[row], row))[:10]
