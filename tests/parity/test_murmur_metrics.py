"""Murmur metrics and decisions against the challenge's reference numbers (m2d/circor_metrics.npz)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mmret.metrics import murmur
from tests.conftest import parity_dir

RTOL = 1e-9
SETS = range(4)  # set 3 has no patient of class Unknown


@pytest.fixture
def numbers():
    return np.load(parity_dir("m2d") / "circor_metrics.npz")


@pytest.mark.parametrize("case", SETS)
def test_report_equals_reference(numbers, case):
    true, predicted, probabilities = (numbers[f"{name}_{case}"] for name in ("true", "pred", "probs"))
    report = murmur.murmur_report(true, predicted, probabilities)
    np.testing.assert_array_equal(report.confusion, numbers[f"confusion_{case}"])
    for name in ("accuracy", "weighted_accuracy", "uar", "f_measure", "auroc", "auprc"):
        expected = float(numbers[f"{name}_{case}"])
        assert getattr(report, name) == pytest.approx(expected, rel=RTOL, nan_ok=True), name
    for name in ("recall", "f_measure_classes", "auroc_classes", "auprc_classes"):
        np.testing.assert_allclose(getattr(report, name), numbers[f"{name}_{case}"], rtol=RTOL, err_msg=name)


def _recordings(numbers) -> np.ndarray:
    """Logits of the recordings in the challenge's order; the fixture's segments have the alphabetical one."""
    segments = numbers["segment_logits"][:, [1, 2, 0]]
    bounds = numbers["segment_offsets_per_recording"]
    return np.stack([murmur.recording_logits(segments[a:b]) for a, b in pairwise(bounds)])


def test_recordings_and_patients_equal_reference(numbers):
    logits = _recordings(numbers)
    np.testing.assert_allclose(murmur.softmax(logits), numbers["recording_probs"], atol=1e-6)
    bounds = numbers["recording_offsets_per_patient"]
    patients = [logits[a:b] for a, b in pairwise(bounds)]
    mean = murmur.softmax(np.stack([one.mean(axis=0) for one in patients]))
    np.testing.assert_allclose(mean, numbers["patient_probs"], atol=1e-6)
    assert [murmur.decide(one, "rule") for one in patients] == numbers["decision_rule"].tolist()
    assert [murmur.decide(one, "average") for one in patients] == numbers["decision_average"].tolist()
