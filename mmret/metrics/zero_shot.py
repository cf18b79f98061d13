"""Zero-shot classification: classes are texts, a clip belongs to the text it is nearest to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmret.metrics.ranking import Scores, relevant_ranks
from mmret.metrics.retrieval import average_precision

_NORM_FLOOR = 1e-12


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of single-label classification, pooled, by fold (ascending numbers) and by class.

    `pooled` counts all clips at once; `fold_mean` averages the folds' accuracies, which differs for unequal folds.
    """

    pooled: float
    per_fold: dict[int, float]
    fold_mean: float
    per_class: dict[int, float]
    class_mean: float


@dataclass(frozen=True)
class MultiLabelScore:
    """Average precision of each class that has a positive clip, by class number, and their mean."""

    per_class: dict[int, float]
    macro: float


def unit(vectors: Scores) -> Scores:
    """Scores (..., dim) scaled to length 1; a zero vector stays zero."""
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Scores = vectors / np.maximum(norm, _NORM_FLOOR)
    return scaled


def prototypes(class_text: Scores) -> Scores:
    """One unit vector a class from class_text (classes, prompts, dim): the mean of the prompts' unit vectors.

    >>> prototypes(np.array([[[2.0, 0.0], [0.0, 5.0]]])).round(3).tolist()
    [[0.707, 0.707]]
    """
    return unit(unit(class_text).mean(axis=1))


def similarities(audio: Scores, class_prototypes: Scores) -> Scores:
    """Cosines (clips, classes) of audio (clips, dim) with class_prototypes (classes, dim)."""
    return unit(audio) @ unit(class_prototypes).T


def max_prompt_similarities(audio: Scores, class_text: Scores) -> Scores:
    """Cosine with the nearest prompt of each class: audio (clips, dim), class_text (classes, prompts, dim)."""
    cosines: Scores = np.einsum("nd,cpd->ncp", unit(audio), unit(class_text))
    return np.asarray(cosines.max(axis=2))


def predict(similarity: Scores) -> NDArray[np.int64]:
    """Best class of each clip, similarity (clips, classes) -> (clips,); equal cosines go to the lowest class."""
    return np.asarray(similarity.argmax(axis=1), dtype=np.int64)


def probabilities(similarity: Scores, *, scale: float) -> Scores:
    """Softmax of scale * similarity (clips, classes) over the classes."""
    logits = scale * (similarity - similarity.max(axis=1, keepdims=True))
    weights: Scores = np.exp(logits)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def accuracy(similarity: Scores, labels: NDArray[np.int64], folds: NDArray[np.int64] | None = None) -> Accuracy:
    """Accuracy of similarity (clips, classes) against labels (clips,); folds (clips,) default to one.

    >>> accuracy(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1])).pooled
    0.5
    """
    labels = np.asarray(labels)
    if len(labels) != len(similarity) or len(labels) == 0:
        raise ValueError(f"{len(labels)} labels for {len(similarity)} clips: need one each, and at least one")
    folds = np.zeros(len(labels), dtype=np.int64) if folds is None else np.asarray(folds)
    correct = predict(similarity) == labels
    per_fold, per_class = _mean_by(correct, folds), _mean_by(correct, labels)
    return Accuracy(
        float(correct.mean()),
        per_fold,
        float(np.mean(list(per_fold.values()))),
        per_class,
        float(np.mean(list(per_class.values()))),
    )


def multi_label_average_precision(similarity: Scores, labels: NDArray[np.bool_]) -> MultiLabelScore:
    """Macro average precision of raw cosines (clips, classes) against labels of the same shape.

    Classes without a positive clip are left out; equal scores count against the class.
    """
    ranks = relevant_ranks(similarity.T, np.asarray(labels, dtype=bool).T)
    per_class = {
        int(number): average_precision(positions)
        for number, positions in zip(ranks.queries, ranks.positions, strict=True)
    }
    return MultiLabelScore(per_class, float(np.mean(list(per_class.values()))))


def _mean_by(correct: NDArray[np.bool_], keys: NDArray[np.int64]) -> dict[int, float]:
    return {int(key): float(correct[keys == key].mean()) for key in np.unique(keys)}
