"""Learning a linear head: the very steps of torch's Adam, early stopping, and validation rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmret.errors import TrainingError
from mmret.heads.fitting import (
    Examples,
    LinearConfig,
    Scoring,
    _Layer,
    fit_head,
    held_out_rows,
    stratified_rows,
)
from mmret.heads.linear import Array, one_hot


def accuracy(logits: Array, targets: Array) -> float:
    return float((logits.argmax(axis=1) == targets.argmax(axis=1)).mean())


def clouds(count: int, *, seed: int = 0, dim: int = 12, classes: int = 3) -> Examples:
    """Points around one centre a class."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((classes, dim))
    labels = np.arange(count) % classes
    vectors = centres[labels] * 2 + generator.standard_normal((count, dim))
    return Examples(vectors.astype(np.float32), one_hot(labels, classes))


@pytest.mark.parametrize("multi_label", [False, True])
def test_steps_are_those_of_torch(multi_label: bool) -> None:
    config = LinearConfig(learning_rate=1e-2, weight_decay=1e-3)
    layer = _Layer.drawn(12, 3, np.random.default_rng(0))
    weight, bias = (torch.from_numpy(array).requires_grad_() for array in layer.copy())
    optimiser = torch.optim.Adam([weight, bias], lr=1e-2, weight_decay=1e-3)
    batch = clouds(7)
    vectors, targets = torch.from_numpy(batch.vectors), torch.from_numpy(batch.targets)
    for _ in range(5):
        logits = vectors @ weight.T + bias
        multi_class = -(targets * logits.log_softmax(dim=-1)).mean()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets) if multi_label else multi_class
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        layer.step(batch, config, multi_label=multi_label)
    np.testing.assert_allclose(layer.copy()[0], weight.detach().numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.copy()[1], bias.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_it_learns_and_the_seed_is_all_that_it_draws_from() -> None:
    config = LinearConfig(learning_rate=1e-2)
    runs = [
        fit_head(clouds(60), clouds(30, seed=1), config, scoring=Scoring(accuracy), seed=seed) for seed in (42, 42, 43)
    ]
    assert runs[0].score > 0.9
    np.testing.assert_array_equal(runs[0].head.weight, runs[1].head.weight)
    assert not np.array_equal(runs[0].head.weight, runs[2].head.weight)
    test = clouds(300, seed=2)
    assert accuracy(runs[0].head.logits(test.vectors), test.targets) > 0.9


def test_vectors_are_standardised_by_the_training_part_or_as_told() -> None:
    train, valid, config = clouds(60), clouds(30, seed=1), LinearConfig(epochs=1)
    plain = fit_head(train, valid, config, scoring=Scoring(accuracy), seed=0).head
    np.testing.assert_allclose(plain.mean, train.vectors.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(plain.scale, train.vectors.std(axis=0), rtol=1e-5)
    both = np.concatenate([train.vectors, valid.vectors])
    told = fit_head(train, valid, config, scoring=Scoring(accuracy), seed=0, scaled_by=both).head
    np.testing.assert_allclose(told.mean, both.mean(axis=0), atol=1e-5)


def test_the_best_epoch_is_kept_the_last_of_equals_and_patience_ends_the_run() -> None:
    scores = iter([0.2, 0.5, 0.5, *[0.4] * 100])
    heads = []

    def metric(logits: Array, targets: Array) -> float:
        heads.append(logits)
        return next(scores)

    config = LinearConfig(learning_rate=1e-2, patience=5)
    valid = clouds(9, seed=1)
    fitted = fit_head(clouds(60), valid, config, scoring=Scoring(metric), seed=0)
    assert (fitted.epoch, fitted.score, len(heads)) == (3, 0.5, 8)
    np.testing.assert_allclose(fitted.head.logits(valid.vectors), heads[2], atol=1e-5)


def test_validation_rows_are_a_random_share_with_every_class() -> None:
    targets = one_hot(np.arange(200) % 4, 4)
    rows = held_out_rows(targets, 0.1, np.random.default_rng(0))
    assert len(rows) == len(set(rows)) == 20
    assert targets[rows].any(axis=0).all()


def test_small_classes_give_one_row_each_and_single_rows_stay() -> None:
    labels = np.array([0] * 20 + [1, 1, 2])
    rows = held_out_rows(one_hot(labels, 3), 0.1, np.random.default_rng(0))
    assert labels[rows].tolist() == [0, 0, 1]
    assert sorted(labels[stratified_rows(labels, 0.5, np.random.default_rng(0))]) == [0] * 10 + [1]


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"learning_rate": -1.0}, {"valid_share": 1.0}])
def test_numbers_that_cannot_work_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match="must be above 0"):
        LinearConfig(**changes)  # type: ignore[arg-type]
