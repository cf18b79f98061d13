"""Murmur metrics where the reference numbers do not reach."""

from __future__ import annotations

import numpy as np
import pytest

from mmret.metrics import murmur


def test_a_missed_murmur_costs_five_times_a_false_alarm():
    missed = murmur.confusion_matrix(np.array([0, 2, 2, 2, 2, 2]), np.array([2, 2, 2, 2, 2, 2]))
    false_alarms = murmur.confusion_matrix(np.array([0, 2, 2, 2, 2, 2]), np.array([0, 0, 0, 0, 0, 0]))
    assert murmur.weighted_accuracy(missed) == murmur.weighted_accuracy(false_alarms) == 0.5


@pytest.mark.parametrize(("classes", "patient"), [([2, 1, 2], 1), ([2, 2], 2), ([2, 1, 0], 0), ([0], 0)])
def test_the_rule_takes_present_before_unknown_before_absent(classes, patient):
    logits = np.eye(3)[classes]
    assert murmur.decide(logits) == patient


def test_average_may_outvote_one_recording():
    logits = np.array([[1.0, 0, 0], [0, 0, 3.0], [0, 0, 3.0]])
    assert (murmur.decide(logits, "rule"), murmur.decide(logits, "average")) == (0, 2)


def test_an_ensemble_of_one_is_that_one():
    logits = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(murmur.softmax(murmur.ensemble_logits([logits])), murmur.softmax(logits))


def test_an_ensemble_is_the_mean_of_probabilities_not_of_logits():
    sure, unsure = np.array([10.0, 0, 0]), np.array([0.0, 0, 0])
    mean = murmur.softmax(murmur.ensemble_logits([sure, unsure]))
    np.testing.assert_allclose(mean, (murmur.softmax(sure) + 1 / 3) / 2)


def test_a_patient_without_exactly_one_label_counts_as_present():
    marks = np.array([[0, 0, 1], [0, 1, 0], [0, 0, 0], [0, 1, 1]], dtype=bool)
    assert murmur.true_classes(marks).tolist() == [2, 1, 0, 0]


def test_equal_scores_are_passed_together():
    true, scores = np.array([0, 2, 2]), np.full((3, 3), 1 / 3)
    report = murmur.murmur_report(true, true, scores)
    assert report.auroc_classes[0] == 0.5
    assert np.isnan(report.auroc_classes[1]) and np.isnan(report.uar)
