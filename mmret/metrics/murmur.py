"""Murmur detection as the PhysioNet Challenge 2022 scores it, and how recordings decide about a patient.

Classes stand in the order of the challenge: Present, Unknown, Absent. A confusion matrix has predicted classes as rows
and true ones as columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Decision = Literal["rule", "average"]

MURMUR_CLASSES = ("Present", "Unknown", "Absent")
PRESENT, UNKNOWN, ABSENT = range(3)
WEIGHTS = np.array([5.0, 3.0, 1.0])  # what a patient of each true class counts: a missed murmur costs most
DECISIONS: tuple[Decision, ...] = get_args(Decision)


@dataclass(frozen=True)
class MurmurReport:
    """All figures of one test, fractions; per class in the challenge's order, NaN for a class that no patient has."""

    confusion: NDArray[np.int64]
    accuracy: float
    weighted_accuracy: float
    uar: float
    f_measure: float
    auroc: float
    auprc: float
    recall: Array
    f_measure_classes: Array
    auroc_classes: Array
    auprc_classes: Array


def murmur_report(true: NDArray[np.int64], predicted: NDArray[np.int64], probabilities: Array) -> MurmurReport:
    """Figures of patients with true and predicted class (patients,) and probabilities (patients, 3).

    UAR is NaN where a class has no patient; the means of AUROC, AUPRC and F then go over the other classes.
    """
    confusion = confusion_matrix(true, predicted)
    truths = np.eye(len(MURMUR_CLASSES), dtype=bool)[true]
    auroc, auprc = np.array([class_areas(truths[:, k], probabilities[:, k]) for k in range(len(MURMUR_CLASSES))]).T
    recall, f_classes = recalls(confusion), _f_measures(confusion)
    return MurmurReport(
        confusion=confusion,
        accuracy=float(np.trace(confusion) / confusion.sum()),
        weighted_accuracy=weighted_accuracy(confusion),
        uar=float(recall.mean()),
        f_measure=float(np.nanmean(f_classes)),
        auroc=float(np.nanmean(auroc)),
        auprc=float(np.nanmean(auprc)),
        recall=recall,
        f_measure_classes=f_classes,
        auroc_classes=auroc,
        auprc_classes=auprc,
    )


def true_classes(marks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Class of each patient from marks (patients, 3); one without exactly one mark counts as Present.

    >>> true_classes(np.array([[False, False, True], [False, True, True]])).tolist()
    [2, 0]
    """
    return np.where(marks.sum(axis=1) == 1, marks.argmax(axis=1), PRESENT)


def confusion_matrix(true: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Patients by predicted class (rows) and true class (columns).

    >>> confusion_matrix(np.array([0, 0, 2]), np.array([0, 2, 2])).tolist()
    [[1, 0, 0], [0, 0, 0], [1, 0, 1]]
    """
    counts = np.zeros((len(MURMUR_CLASSES),) * 2, np.int64)
    np.add.at(counts, (predicted, true), 1)
    return counts


def weighted_accuracy(confusion: NDArray[np.int64]) -> float:
    """Share of the weight of all patients that was decided rightly; weights 5, 3, 1 by true class."""
    weighted = confusion * WEIGHTS
    return float(np.trace(weighted) / weighted.sum())


def recalls(confusion: NDArray[np.int64]) -> Array:
    """Recall of each class (3,); NaN for a class that no patient has."""
    return _ratio(np.diag(confusion), confusion.sum(axis=0))


def recording_logits(segment_logits: Array) -> Array:
    """Logits of the pieces of a recording (pieces, classes) -> those of the recording (classes,): their mean."""
    return np.asarray(segment_logits.mean(axis=0))


def decide(logits: Array, decision: Decision = "rule") -> int:
    """Class of a patient from logits of the recordings (recordings, 3) in the challenge's order.

    "rule": Present if one recording is, else Unknown if one is, else Absent. "average": the largest mean logit.

    >>> decide(np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]]))
    0
    """
    if decision == "average":
        return int(logits.mean(axis=0).argmax())
    return int(logits.argmax(axis=1).min())  # the challenge's order is that of precedence


def softmax(logits: Array) -> Array:
    """Probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def ensemble_logits(logits: Sequence[Array]) -> Array:
    """Logits of several models, each (..., classes), as those of their mean probability.

    The published pairs of models do not say how they were combined; the mean of probabilities is our reading.
    """
    return np.asarray(np.log(np.mean([softmax(one) for one in logits], axis=0)))


def class_areas(truth: NDArray[np.bool_], score: Array) -> tuple[float, float]:
    """Areas under the ROC curve (trapezia) and under the precision-recall curve (steps) of one class against the rest.

    Patients of equal score are passed together. Both are NaN where there are only patients of one kind.
    """
    positives = int(truth.sum())
    if positives in (0, len(truth)):
        return float("nan"), float("nan")
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of each run of equal scores
    hits = np.cumsum(truth[order])[last]
    false = last + 1 - hits
    tpr = np.concatenate([[0.0], hits / positives])
    fpr = np.concatenate([[0.0], false / (len(truth) - positives)])
    auroc = float((np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2).sum())
    auprc = float((np.diff(tpr) * hits / (last + 1)).sum())
    return auroc, auprc


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))


def _f_measures(confusion: NDArray[np.int64]) -> Array:
    """Harmonic mean of precision and recall of each class (3,); NaN for one that is neither true nor predicted."""
    hits = np.diag(confusion)
    return _ratio(2 * hits, confusion.sum(axis=0) + confusion.sum(axis=1))
