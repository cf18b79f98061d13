"""Order of a gallery, ties included."""

from __future__ import annotations

import numpy as np
import pytest

from mmret.metrics.ranking import rank, relevance_from_captions, relevance_from_owner, relevant_ranks

SCORES = np.array([1.0, 2.0, 1.0, 1.0])
RELEVANT = np.array([False, False, True, False])


@pytest.mark.parametrize(("ties", "order"), [("worst", [1, 0, 3, 2]), ("best", [1, 2, 0, 3]), ("index", [1, 0, 2, 3])])
def test_tie_policies_place_the_relevant_item_as_they_say(ties: str, order: list[int]) -> None:
    assert rank(SCORES, RELEVANT, ties=ties).tolist() == order


def test_minus_infinity_is_an_ordinary_last_place() -> None:
    ranks = relevant_ranks(np.array([[-np.inf, 0.0, 1.0]]), np.array([[True, False, False]]))
    assert ranks.first.tolist() == [3]


def test_negative_and_positive_zero_are_equal() -> None:
    assert rank(np.array([-0.0, 0.0]), np.array([True, False])).tolist() == [1, 0]


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        relevant_ranks(np.array([[np.nan, 1.0]]), np.array([[True, False]]))


def test_queries_without_a_relevant_item_are_counted() -> None:
    ranks = relevant_ranks(np.zeros((2, 3)), np.array([[False] * 3, [True, False, False]]))
    assert (ranks.queries.tolist(), ranks.n_excluded) == ([1], 1)


def test_no_relevant_item_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing can be measured"):
        relevant_ranks(np.zeros((2, 3)), np.zeros((2, 3), dtype=bool))


def test_shapes_that_differ_are_an_error() -> None:
    with pytest.raises(ValueError, match="gallery"):
        relevant_ranks(np.zeros((2, 3)), np.zeros((3, 2), dtype=bool))


def test_an_unknown_tie_policy_is_an_error() -> None:
    with pytest.raises(ValueError, match="worst, best, index"):
        relevant_ranks(np.zeros((1, 1)), np.ones((1, 1), dtype=bool), ties="random")


def test_an_owner_beyond_the_audios_is_an_error() -> None:
    with pytest.raises(ValueError, match="there are 2"):
        relevance_from_owner([0, 2], 2)


def test_clips_answer_captions_equal_to_their_own() -> None:
    relevant = relevance_from_captions([["a cow", "moo"], ["A  Cow"], ["rain"]])
    assert relevant.astype(int).tolist() == [[1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
