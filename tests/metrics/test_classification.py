"""Figures of classifiers and of a few seeds."""

from __future__ import annotations

import numpy as np
import pytest

from mmret.metrics.classification import ClassFigures, accuracy, by_class, mean_average_precision, over_seeds

LOGITS = np.array([[3.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 5.0, 1.0], [4.0, 0.0, 0.0]], np.float32)
TARGETS = np.eye(3, dtype=np.float32)[[0, 0, 1, 1]]


def test_accuracy_and_figures_of_each_class() -> None:
    assert accuracy(LOGITS, TARGETS) == 0.75
    assert by_class(LOGITS, TARGETS) == [
        ClassFigures(2, 1.0, 2 / 3),
        ClassFigures(2, 0.5, 1.0),
        ClassFigures(0, None, None),
    ]


def test_average_precision_of_labels_that_are_there() -> None:
    targets = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], np.float32)
    # class 0 is ranked 4th, 1st, 2nd, 3rd: clips 0 and 2 stand at places 2 and 4; class 1 at places 1 and 3 (a tie)
    assert mean_average_precision(LOGITS, targets) == pytest.approx(np.mean([(1 / 2 + 2 / 4) / 2, (1 / 1 + 2 / 3) / 2]))


def test_interval_over_three_seeds_is_students() -> None:
    found = over_seeds([0.90, 0.92, 0.94])
    assert found.mean == pytest.approx(0.92)
    assert found.half_width == pytest.approx(4.303 * 0.02 / np.sqrt(3))
    with pytest.raises(ValueError, match="at most 11 seeds"):
        over_seeds([0.0] * 12)
