"""How a linear head is learnt: the protocol of M2D's linear evaluation (EVAR), on vectors that stay as they are.

Standardise by the training part, one linear layer with torch's initialisation, Adam, early stopping on validation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmret.errors import TrainingError
from mmret.heads.linear import Array, LinearHead, probabilities, standardiser

Metric = Callable[[Array, Array], float]

_BETAS = (0.9, 0.999)
_EPS = 1e-8
_TRIES = 100


@dataclass(frozen=True)
class LinearConfig:
    """Numbers of the protocol: Adam's rate and decay, the batch, epochs at most, epochs without a better score."""

    learning_rate: float = 3e-5
    weight_decay: float = 1e-8
    batch_size: int = 200
    epochs: int = 200
    patience: int = 20
    valid_share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work."""
        if min(self.learning_rate, self.batch_size, self.epochs, self.patience) <= 0 or not 0 < self.valid_share < 1:
            raise TrainingError(f"rate, batch, epochs and patience must be above 0, valid_share within 0 to 1: {self}")


@dataclass(frozen=True)
class Examples:
    """Vectors (n, dim) and what they are, rows (n, classes) that are one-hot or multi-hot."""

    vectors: Array
    targets: Array

    def __len__(self) -> int:
        """Count the examples."""
        return len(self.vectors)

    def rows(self, index: NDArray[np.int64]) -> Examples:
        """Some of them."""
        return Examples(self.vectors[index], self.targets[index])


@dataclass(frozen=True)
class Scoring:
    """What a head is for: `metric(logits, targets)`, higher is better, and whether a clip may have several labels."""

    metric: Metric
    multi_label: bool = False


@dataclass(frozen=True)
class FittedHead:
    """A head, the validation score it was chosen by, and the epoch (from 1) it is of."""

    head: LinearHead
    score: float
    epoch: int


def fit_head(
    train: Examples,
    valid: Examples,
    config: LinearConfig,
    *,
    scoring: Scoring,
    seed: int,
    scaled_by: Array | None = None,
) -> FittedHead:
    """Learn a head; the metric of the validation part says when to stop, and of equal scores the later epoch counts.

    The loss is the mean over samples AND classes of the cross entropy, or of the binary one for several labels.
    `scaled_by` are the vectors (n, dim) to standardise by, those of `train` if not given.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    mean, scale = standardiser(train.vectors if scaled_by is None else scaled_by)
    multi_label = scoring.multi_label
    train = Examples((train.vectors - mean) / scale, train.targets)
    layer = _Layer.drawn(train.vectors.shape[1], train.targets.shape[1], generator)
    known = Examples((valid.vectors - mean) / scale, valid.targets)
    best, score, since = (layer.copy(), 0), -np.inf, 0
    for epoch in range(1, config.epochs + 1):
        _one_epoch(layer, train, config, multi_label=multi_label, generator=generator)
        now = scoring.metric(layer.logits(known.vectors), known.targets)
        if now >= score:
            best, score, since = (layer.copy(), epoch), now, 0
        else:
            since += 1
            if since >= config.patience:
                break
    (weight, bias), epoch = best
    return FittedHead(LinearHead(mean, scale, weight, bias, multi_label), float(score), epoch)


class _Layer:
    """One linear layer with the state of Adam."""

    def __init__(self, weight: Array, bias: Array) -> None:
        self.parameters = [weight, bias]
        self._moments = [(np.zeros_like(each), np.zeros_like(each)) for each in self.parameters]
        self._steps = 0

    @classmethod
    def drawn(cls, dim: int, classes: int, generator: np.random.Generator) -> _Layer:
        """torch's initialisation of nn.Linear: uniform up to 1 / sqrt(dim)."""
        bound = dim**-0.5
        weight = generator.uniform(-bound, bound, (classes, dim)).astype(np.float32)
        return cls(weight, generator.uniform(-bound, bound, classes).astype(np.float32))

    def logits(self, vectors: Array) -> Array:
        weight, bias = self.parameters
        logits: Array = vectors @ weight.T + bias
        return logits

    def copy(self) -> tuple[Array, Array]:
        weight, bias = self.parameters
        return weight.copy(), bias.copy()

    def step(self, batch: Examples, config: LinearConfig, *, multi_label: bool) -> None:
        """One step of Adam; the decay is added to the gradient."""
        share = probabilities(self.logits(batch.vectors), multi_label=multi_label)
        if multi_label:
            slope = share - batch.targets
        else:
            slope = share * batch.targets.sum(axis=1, keepdims=True) - batch.targets
        slope /= np.float32(slope.size)  # the mean over samples and classes
        self._steps += 1
        gradients = [slope.T @ batch.vectors, slope.sum(axis=0)]
        for parameter, gradient, (first, second) in zip(self.parameters, gradients, self._moments, strict=True):
            gradient = gradient + np.float32(config.weight_decay) * parameter
            first += (1 - _BETAS[0]) * (gradient - first)
            second += (1 - _BETAS[1]) * (gradient * gradient - second)
            unbiased = np.sqrt(second / (1 - _BETAS[1] ** self._steps)) + _EPS
            parameter -= np.float32(config.learning_rate / (1 - _BETAS[0] ** self._steps)) * first / unbiased


def _one_epoch(
    layer: _Layer, train: Examples, config: LinearConfig, *, multi_label: bool, generator: np.random.Generator
) -> None:
    order = generator.permutation(len(train))
    for start in range(0, len(order), config.batch_size):
        layer.step(train.rows(order[start : start + config.batch_size]), config, multi_label=multi_label)


def held_out_rows(targets: Array, share: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """Rows for validation: a random share of the rows of targets (n, classes) in which every class is found.

    Drawn up to 100 times. Where no draw holds every class the reference gives up; here each class then gives its
    share, one row at least, and a class with a single row none.
    """
    count = max(1, round(share * len(targets)))
    for _ in range(_TRIES):
        rows = generator.permutation(len(targets))[:count]
        if targets[rows].any(axis=0).all():
            return np.sort(rows)
    return stratified_rows(targets.argmax(axis=1), share, generator)


def stratified_rows(labels: NDArray[np.int64], share: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """A share of the rows of each class, one at least, of labels (n,); a class with a single row gives none."""
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        chosen.append(generator.permutation(rows)[:count])
    return np.sort(np.concatenate(chosen))
