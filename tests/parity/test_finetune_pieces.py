"""Fine-tuning's pieces against the reference numbers of finetune_pieces*.npz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmret.audio.augment import Mixup, Window, resize_crop, spec_augment
from mmret.losses.classification import (
    balanced_weights,
    binary_cross_entropy,
    mean_cross_entropy,
    weighted_cross_entropy,
)
from mmret.models.m2d_patch_out import kept_tokens, patch_out_sizes
from mmret.training.config import TrainingConfig
from mmret.training.optimisers import Lars, make_optimiser
from mmret.training.schedules import CosineUnderWarmup
from tests.conftest import parity_files
from tests.parity.m2d_fixture import Fixture

FIXTURES = parity_files("m2d", "finetune_pieces*.npz")

pytestmark = pytest.mark.skipif(not FIXTURES, reason="no finetune_pieces*.npz; set MMRET_PARITY")


@pytest.fixture(params=FIXTURES, ids=lambda path: path.stem)
def fixture(request: pytest.FixtureRequest) -> Fixture:
    path: Path = request.param
    return Fixture(path)


def test_mixup_of_waves_and_labels(fixture: Fixture) -> None:
    mix = Mixup(fixture["mix_lambda"], fixture["mix_perm"])
    fixture.assert_close(mix(fixture["mix_x"]), "mix_x_out")
    fixture.assert_close(mix(fixture["mix_y"]), "mix_y_out")


def test_losses_are_means_over_samples_and_classes(fixture: Fixture) -> None:
    logits, targets = fixture["logits"], fixture["mix_y_out"]
    fixture.assert_close(mean_cross_entropy(logits, targets), "loss_nll")
    fixture.assert_close(binary_cross_entropy(logits, targets), "loss_bce")


def test_losses_with_weighted_classes(fixture: Fixture) -> None:
    logits, targets = fixture["wce_logits"], fixture["wce_targets"]
    weights = balanced_weights(torch.bincount(fixture["wce_labels"].long()))
    fixture.assert_close(weights, "wce_weights")
    fixture.assert_close(weighted_cross_entropy(logits.softmax(dim=-1), targets, weights), "wce_2024_softmax_first")
    fixture.assert_close(weighted_cross_entropy(logits, targets, weights), "wce_plain")
    stressed = weights * torch.tensor([1.0, 3.0, 5.0]).sqrt()
    stressed = stressed / stressed.sum()
    fixture.assert_close(stressed, "wce_2025_weights")
    fixture.assert_close(weighted_cross_entropy(logits, targets, stressed), "wce_2025")


def test_spec_augment_with_given_draws(fixture: Fixture) -> None:
    log_mel, options = fixture["spec_in"], fixture.options
    masked = spec_augment(log_mel, options["freq_mask"], 0, np.array([*fixture["spec_draws"][:2].tolist(), 0, 0]))
    fixture.assert_close(masked, "spec_after_freq")
    masked = spec_augment(log_mel, options["freq_mask"], options["time_mask"], fixture["spec_draws"].numpy())
    fixture.assert_close(masked, "spec_out")


def test_resize_crop_with_given_windows(fixture: Fixture) -> None:
    for number, (mel, frame, mels, frames) in enumerate(fixture["rrc_ijhw"].tolist()):
        window = Window(mel, frame, mels, frames)
        fixture.assert_close(resize_crop(fixture["rrc_in"], window), f"rrc_out_{number}", atol=1e-4)


def test_patch_out_sizes(fixture: Fixture) -> None:
    for ratio, rows, columns, draw, *expected in fixture["patchout_cases"].tolist():
        assert patch_out_sizes(ratio, int(rows), int(columns), draw) == tuple(expected)


def test_patch_out_keeps_the_unmarked_or_as_the_reference_the_marked(fixture: Fixture) -> None:
    marks = fixture["patchout_marks"][None].bool()
    kept = int(fixture["patchout_len_keep"])
    reference = kept_tokens(marks, compat_keep_marked=True)[0]
    assert reference.tolist() == fixture["patchout_ids_sorted_stable"][:kept].tolist()
    ours = kept_tokens(marks)[0]
    assert len(ours) == kept
    assert not marks.flatten()[ours].any()


OPTIMISERS = [
    ("sgd", {"optimiser": "sgd", "learning_rate": 0.5}),
    ("lars_timm_wd0", {"optimiser": "lars", "learning_rate": 2.0}),
    ("sgd_lr2", {"optimiser": "sgd", "learning_rate": 2.0}),
    ("lars_timm_wd1e-4", {"optimiser": "lars", "learning_rate": 2.0, "weight_decay": 1e-4}),
    ("lars_moco", {"optimiser": "lars_matrices", "learning_rate": 2.0}),
    ("adamw_amsgrad", {"optimiser": "adamw", "learning_rate": 5e-4, "weight_decay": 1e-4, "amsgrad": True}),
]


@pytest.mark.parametrize(("name", "settings"), OPTIMISERS, ids=[name for name, _ in OPTIMISERS])
def test_three_steps_of_an_optimiser(fixture: Fixture, name: str, settings: dict[str, Any]) -> None:
    weight, bias = nn.Parameter(fixture["opt_w0"].clone()), nn.Parameter(fixture["opt_b0"].clone())
    config = TrainingConfig(steps=3, **{"weight_decay": 0.0, **settings})
    optimiser = make_optimiser([{"params": [weight, bias]}], config)
    trace = []
    for weight_gradient, bias_gradient in zip(fixture["opt_grad_w"], fixture["opt_grad_b"], strict=True):
        weight.grad, bias.grad = weight_gradient.clone(), bias_gradient.clone()
        optimiser.step()
        trace.append((weight.detach().clone(), bias.detach().clone()))
    fixture.assert_close(torch.stack([weights for weights, _ in trace]), f"{name}_w")
    fixture.assert_close(torch.stack([biases for _, biases in trace]), f"{name}_b")
    assert isinstance(optimiser, Lars) == name.startswith("lars")


def test_learning_rate_under_the_warm_up(fixture: Fixture) -> None:
    for number, settings in enumerate(fixture.options["optim"]["cosine"]):
        schedule = CosineUnderWarmup(settings["lr"], settings["warmup_t"], settings["t_initial"], settings["lr_min"])
        rates = [schedule(float(epoch)) for epoch in fixture[f"cosine_t_{number}"]]
        np.testing.assert_allclose(rates, fixture.arrays[f"cosine_lr_{number}"], rtol=1e-9)
        assert schedule(0) == fixture.arrays[f"cosine_lr_initial_{number}"]
