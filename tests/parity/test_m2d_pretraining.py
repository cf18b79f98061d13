"""One pre-training step of every member of the family, masks injected, against the reference's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmret.models.m2d_masking import visible_count
from mmret.models.m2d_objectives import (
    average_teacher_frames,
    ema_decay_at,
    patchify,
    standardise,
    token_loss,
    update_average,
)
from mmret.models.m2d_pretraining import M2DForPreTraining
from tests.conftest import parity_files
from tests.parity.m2d_fixture import Fixture, gradients_of

TOLERANCE = {"rtol": 1e-5, "atol": 2e-6}
GRADIENT_TOLERANCE = {"rtol": 1e-4, "atol": 2e-6}


def network_of(fixture: Fixture, **changes) -> M2DForPreTraining:
    model = M2DForPreTraining(fixture.config(**changes)).train()
    model.load_state_dict(fixture.weights(), strict=True)
    return model


def decays(name: str, weight: torch.Tensor) -> bool:
    return weight.ndim >= 2 and not name.endswith(".bias")


@pytest.mark.parametrize("path", parity_files("m2d", "m2d_pretrain_step*.npz"), ids=lambda path: path.stem)
def test_m2d_step_equals_the_reference(path: Path):
    fixture = Fixture(path)
    model, mask = network_of(fixture), fixture.mask()
    torch.testing.assert_close(mask.ids_shuffle, fixture["ids_shuffle"])
    fixture.assert_close(mask.hidden.float(), "mask")
    tokens = model.patch_tokens(fixture["x"])
    fixture.assert_close(mask.hidden_of(tokens), "target_input_tokens", **TOLERANCE)
    fixture.assert_close(model.target_encode(mask.hidden_of(tokens)), "target_with_cls", **TOLERANCE)

    step = model(fixture["x"], mask=mask)
    fixture.assert_close(step.latent, "online_latent", **TOLERANCE)
    fixture.assert_close(step.prediction, "prediction", **TOLERANCE)
    fixture.assert_close(step.target, "target", **TOLERANCE)
    fixture.assert_close(step.loss, "loss", **TOLERANCE)
    for kind in ("norm_mse", "mse"):
        fixture.assert_close(token_loss(step.prediction, step.target, kind), f"loss_{kind}_raw", **TOLERANCE)
        scaled = standardise(step.target)
        fixture.assert_close(token_loss(step.prediction, scaled, kind), f"loss_{kind}_std", **TOLERANCE)


@pytest.mark.parametrize("path", parity_files("m2d", "m2d_pretrain_step*.npz"), ids=lambda path: path.stem)
def test_m2d_gradients_adamw_and_moving_average_equal_the_reference(path: Path):
    fixture = Fixture(path)
    options, model = fixture.options, network_of(fixture)
    model(fixture["x"], mask=fixture.mask()).loss.backward()
    gradients = gradients_of(model)
    fixture.assert_gradients(gradients)
    for key in (key for key in fixture.arrays.files if key.startswith("grad.")):
        fixture.assert_close(gradients[key.removeprefix("grad.")], key, **GRADIENT_TOLERANCE)

    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    no_decay = {name for name, weight in trained.items() if not decays(name, weight)}
    assert no_decay == {str(name) for name in fixture.arrays["no_decay_names"]}
    total = nn.utils.clip_grad_norm_(trained.values(), options["clip_grad"])
    fixture.assert_close(total, "clip_total_norm", **GRADIENT_TOLERANCE)
    groups = [
        {"params": [trained[name] for name in trained if name in no_decay], "weight_decay": 0.0},
        {"params": [trained[name] for name in trained if name not in no_decay]},
    ]
    settings = {"lr": options["lr"], "betas": options["betas"], "eps": options["adam_eps"]}
    torch.optim.AdamW(groups, weight_decay=options["weight_decay"], **settings).step()
    model.update_target(options["ema_decay_used_after_step"])
    weights = model.state_dict()
    for key in (key for key in fixture.arrays.files if key.startswith(("after.", "after_ema."))):
        fixture.assert_close(weights[key.partition(".")[2]], key, **GRADIENT_TOLERANCE)


@pytest.mark.parametrize("path", parity_files("m2d", "m2d_pretrain_step*.npz"), ids=lambda path: path.stem)
def test_the_target_that_sees_all_patches_equals_the_reference(path: Path):
    fixture = Fixture(path)
    model = network_of(fixture, target_input="all")
    full = model.target_encode(model.patch_tokens(fixture["x"]))[:, 1:]
    fixture.assert_close(full, "all_patches_target_full", **TOLERANCE)
    fixture.assert_close(model(fixture["x"], mask=fixture.mask()).loss, "all_patches_target_loss", **TOLERANCE)


@pytest.mark.parametrize("path", parity_files("m2d", "msm_mae_step*.npz"), ids=lambda path: path.stem)
def test_msm_mae_step_equals_the_reference(path: Path):
    fixture = Fixture(path)
    model, mask = network_of(fixture, prediction_target="pixels", token_loss="mse"), fixture.mask()
    fixture.assert_close(patchify(fixture["x"], model.config.patch_size), "patches", **TOLERANCE)
    step = model(fixture["x"], mask=mask)
    fixture.assert_close(step.latent, "latent", **TOLERANCE)
    fixture.assert_close(step.decoded, "prediction", **TOLERANCE)
    fixture.assert_close(step.hidden.float(), "mask")
    fixture.assert_close(step.loss, "loss", **TOLERANCE)
    fixture.assert_close(token_loss(step.prediction, step.target, "mse"), "loss_raw", **TOLERANCE)
    fixture.assert_close(model.reconstruct(fixture["x"], mask), "reconstruction", **TOLERANCE)
    step.loss.backward()
    fixture.assert_gradients(gradients_of(model))


OFFLINE = [
    (path, task)
    for pattern, task in (("m2dx_offline*", "distil"), ("m2d_as_offline*", "tags"), ("m2d_s_offline*", "distil"))
    for path in parity_files("m2d", f"{pattern}.npz")
]


@pytest.mark.parametrize(("path", "task"), OFFLINE, ids=lambda value: getattr(value, "stem", value))
def test_offline_task_equals_the_reference(path: Path, task: str):
    fixture = Fixture(path)
    model, mask = network_of(fixture, offline_task=task, offline_dim=fixture.options["off_emb_dim"]), fixture.mask()
    step = model(fixture["x"], mask=mask, offline_target=fixture["offline_target"])
    fixture.assert_close(model.offline_tokens(step.latent, step.prediction, mask), "z_online_stacked", **TOLERANCE)
    fixture.assert_close(step.prediction, "online_prediction", **TOLERANCE)
    fixture.assert_close(step.offline_prediction, "offline_prediction", **TOLERANCE)
    fixture.assert_close(step.hidden.float(), "mask")
    fixture.assert_close(step.online_loss, "loss_online", **TOLERANCE)
    fixture.assert_close(step.offline_loss, "loss_offline", **TOLERANCE)
    fixture.assert_close(step.loss, "loss", **TOLERANCE)
    step.loss.backward()
    fixture.assert_gradients(gradients_of(model))


@pytest.mark.parametrize("path", parity_files("m2d", "m2d_s_offline*.npz"), ids=lambda path: path.stem)
def test_teacher_frames_average_into_patches_as_in_the_reference(path: Path):
    fixture = Fixture(path)
    averaged = average_teacher_frames(fixture["teacher_raw_DT"].T, int(fixture["teacher_patch_len"]))
    fixture.assert_close(averaged, "teacher_per_patch_TD", **TOLERANCE)


@pytest.mark.parametrize("path", parity_files("m2d", "ema_and_schedules*.npz"), ids=lambda path: path.stem)
def test_moving_average_and_mask_counts_equal_the_reference(path: Path):
    fixture = Fixture(path)
    options = fixture.options
    for index, total in enumerate(options["total_steps"]):
        decay = [
            ema_decay_at(int(step), total, first=options["ema_decay_init"], last=options["ema_decay"])
            for step in fixture.arrays[f"ema_steps_{index}"]
        ]
        np.testing.assert_allclose(decay, fixture.arrays[f"ema_decay_{index}"], rtol=1e-9)

    old, new = (nn.Linear(*fixture["ema_old_w"].T.shape) for _ in range(2))
    for layer, age in ((old, "old"), (new, "new")):
        layer.load_state_dict({"weight": fixture[f"ema_{age}_w"], "bias": fixture[f"ema_{age}_b"]})
    update_average(old, new, options["ema_single_decay"])
    fixture.assert_close(old.weight, "ema_after_w")
    fixture.assert_close(old.bias, "ema_after_b")

    counts = [visible_count(int(tokens), float(ratio)) for tokens, ratio in fixture.arrays["mask_cases"]]
    assert counts == fixture.arrays["len_keep"].tolist()
