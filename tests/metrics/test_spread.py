"""The number of directions that features use, where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from mmret.metrics import effective_rank, explained_variance_auc


def features(variances: list[float]) -> np.ndarray:
    """Features whose variances along orthogonal directions are exactly these, turned at random."""
    generator = np.random.default_rng(0)
    exact = np.linalg.qr(generator.standard_normal((100, len(variances))) - 0.0)[0]
    exact = np.linalg.qr(exact - exact.mean(axis=0))[0]
    turned = np.linalg.qr(generator.standard_normal((len(variances),) * 2))[0]
    return (exact * np.sqrt(variances)) @ turned + 5.0


@pytest.mark.parametrize("dim", [1, 4, 7])
def test_equal_directions_count_in_full(dim: int):
    assert effective_rank(features([2.0] * dim)) == pytest.approx(dim, rel=1e-6)
    assert explained_variance_auc(features([2.0] * dim)) == pytest.approx((dim + 1) / (2 * dim), rel=1e-6)


def test_a_collapsed_representation_counts_one():
    collapsed = np.outer(np.arange(50.0), [1.0, 2.0, 3.0])
    assert effective_rank(collapsed) == pytest.approx(1.0, abs=1e-3)
    assert explained_variance_auc(collapsed) == pytest.approx(1.0)


def test_the_entropy_is_of_singular_values():
    # singular values 3 and 1: shares 3/4 and 1/4
    expected = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert effective_rank(features([9.0, 1.0])) == pytest.approx(expected, rel=1e-6)
    assert explained_variance_auc(features([9.0, 1.0])) == pytest.approx((0.9 + 1.0) / 2, rel=1e-6)


def test_features_that_are_all_the_same_are_refused():
    with pytest.raises(ValueError, match="all the same"):
        effective_rank(np.ones((5, 3)))
