"""Zero-shot classification where the answer is plain to see."""

from __future__ import annotations

import numpy as np
import pytest

from mmret.metrics import zero_shot


def test_pooled_and_fold_mean_differ_for_unequal_folds() -> None:
    similarity = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    got = zero_shot.accuracy(similarity, np.array([0, 0, 0, 1]), np.array([1, 1, 1, 2]))
    assert (got.pooled, got.fold_mean, got.per_fold) == (0.75, 0.5, {1: 1.0, 2: 0.0})


def test_class_mean_weighs_classes_equally() -> None:
    similarity = np.array([[1.0, 0.0]] * 4)
    got = zero_shot.accuracy(similarity, np.array([0, 0, 0, 1]))
    assert (got.class_mean, got.per_class) == (0.5, {0: 1.0, 1: 0.0})


def test_equal_cosines_go_to_the_lowest_class() -> None:
    assert zero_shot.predict(np.zeros((2, 3))).tolist() == [0, 0]


def test_long_prompts_weigh_no_more_than_short_ones() -> None:
    text = np.array([[[100.0, 0.0], [0.0, 0.01]]])
    np.testing.assert_allclose(zero_shot.prototypes(text), [[np.sqrt(0.5), np.sqrt(0.5)]])


def test_zero_vectors_stay_zero() -> None:
    assert zero_shot.unit(np.zeros((1, 3))).tolist() == [[0.0, 0.0, 0.0]]


def test_labels_and_clips_must_pair() -> None:
    with pytest.raises(ValueError, match="3 labels for 2 clips"):
        zero_shot.accuracy(np.zeros((2, 2)), np.array([0, 1, 0]))


def test_classes_without_a_positive_are_left_out() -> None:
    got = zero_shot.multi_label_average_precision(np.eye(3), np.eye(3, dtype=bool) & np.array([True, True, False]))
    assert (got.per_class, got.macro) == ({0: 1.0, 1: 1.0}, 1.0)
