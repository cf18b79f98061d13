"""M2D-CLAP's losses and projectors against the reference's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmret.losses.contrastive import infonce
from mmret.models.m2d import M2DConfig
from mmret.models.m2d_checkpoint import clap_names
from mmret.models.m2d_clap import M2DClapConfig, M2DClapForPreTraining, M2DClapModel
from tests.conftest import parity_files
from tests.parity.m2d_fixture import Fixture, gradients_of


def cosines(text: Tensor, audio: Tensor) -> Tensor:
    return functional.normalize(text, dim=-1) @ functional.normalize(audio, dim=-1).T


@pytest.mark.parametrize("path", parity_files("m2d", "clap_loss*.npz"), ids=lambda path: path.stem)
def test_contrastive_loss_and_its_gradients_equal_the_reference(path: Path):
    fixture = Fixture(path)
    cases = sorted(key.removeprefix("loss_") for key in fixture.arrays.files if key.startswith("loss_"))
    for case in cases:
        audio, text = (fixture[name].clone().requires_grad_() for name in ("audio", "text"))
        scale = fixture[f"logit_scale_{case}"].clone().requires_grad_()
        loss = infonce(audio, text, scale)
        loss.backward()
        fixture.assert_close(loss, f"loss_{case}")
        fixture.assert_close(scale.exp() * cosines(text, audio), f"logits_text_audio_{case}")
        fixture.assert_close(audio.grad, f"grad_audio_{case}")
        fixture.assert_close(text.grad, f"grad_text_{case}")
        fixture.assert_close(scale.grad, f"grad_logit_scale_{case}", rtol=1e-4)


@pytest.mark.parametrize("path", parity_files("m2d", "clap_loss*.npz"), ids=lambda path: path.stem)
def test_the_temperature_is_clamped_as_in_the_reference(path: Path):
    fixture = Fixture(path)
    audio = M2DConfig(input_size=(80, 64), embed_dim=8, depth=1, num_heads=1)
    model = M2DClapModel(M2DClapConfig(audio_config=audio, text_dim=8))
    clamped = []
    for value in fixture["clip_in"]:
        model.logit_scale.data.copy_(value)
        model.clamp_logit_scale()
        clamped.append(model.logit_scale.detach().clone())
    fixture.assert_close(torch.stack(clamped), "clip_out")


def clap_config(fixture: Fixture) -> M2DClapConfig:
    options = fixture.options
    # In the joint trainer the reference's "offline" weight is that of the contrastive loss.
    return M2DClapConfig(
        audio_config=fixture.config(offline_weight=1.0),
        audio_projector="mlp",
        text_projector={"Linear": "linear"}.get(options["text_proj"], "identity"),
        text_dim=options["text_dim"],
        contrastive_weight=options["loss_off"],
    )


@pytest.mark.parametrize("path", parity_files("m2d", "clap_forward_2024*.npz"), ids=lambda path: path.stem)
def test_joint_step_of_2024_equals_the_reference(path: Path):
    fixture = Fixture(path)
    model = M2DClapForPreTraining(clap_config(fixture)).train()
    model.load_state_dict(clap_names(fixture.weights()), strict=True)
    step = model(fixture["x"], fixture["text_embedding"], mask=fixture.mask())
    tolerance = {"rtol": 1e-5, "atol": 2e-6}
    fixture.assert_close(step.prediction, "prediction", **tolerance)
    fixture.assert_close(step.hidden.float(), "mask")
    fixture.assert_close(step.online_loss, "loss_online", **tolerance)
    fixture.assert_close(step.contrastive_loss, "loss_offline", **tolerance)
    fixture.assert_close(step.loss, "loss", **tolerance)
    fixture.assert_close(step.audio_embeds, "audio_embedding_masked", **tolerance)
    fixture.assert_close(step.text_embeds, "text_embedding_projected", **tolerance)
    step.loss.backward()
    gradients = {name.removeprefix("audio_model."): value for name, value in gradients_of(model).items()}
    fixture.assert_gradients(gradients)
    fixture.assert_close(gradients["logit_scale"], "grad_logit_scale", rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("path", parity_files("m2d", "clap_forward_2024*.npz"), ids=lambda path: path.stem)
@torch.no_grad()
def test_inference_of_2024_equals_the_reference(path: Path):
    fixture = Fixture(path)
    model = M2DClapModel(clap_config(fixture)).eval()
    weights, known = clap_names(fixture.weights()), set(model.state_dict())
    model.load_state_dict({key: value for key, value in weights.items() if key in known}, strict=True)
    log_mel = fixture["x"]
    tolerance = {"rtol": 1e-5, "atol": 2e-6}
    tokens = model.audio_model(log_mel).last_hidden_state[:, 1:]
    fixture.assert_close(tokens.mean(dim=1), "clip_feature_unmasked", **tolerance)
    audio = model.embed_audio(log_mel)
    fixture.assert_close(audio, "audio_embedding", **tolerance)
    text = model.embed_text_vectors(fixture["text_embedding"])
    fixture.assert_close(cosines(text, audio), "cosine_text_audio", **tolerance)
    raw = log_mel * model.audio_model.norm_stats[1] + model.audio_model.norm_stats[0]
    features = model.get_audio_features(raw).pooler_output
    torch.testing.assert_close(features, functional.normalize(audio, dim=-1), rtol=1e-4, atol=1e-5)


def load_part(module: nn.Module, weights: dict[str, Tensor], prefix: str) -> nn.Module:
    module.load_state_dict({key.removeprefix(prefix): value for key, value in weights.items()}, strict=True)
    return module


@pytest.mark.parametrize("path", parity_files("m2d", "clap_forward_2025*.npz"), ids=lambda path: path.stem)
@torch.no_grad()
def test_projectors_of_2025_equal_the_reference(path: Path):
    fixture = Fixture(path)
    options, tolerance = fixture.options, {"rtol": 1e-5, "atol": 3e-6}
    audio_config = M2DConfig(input_size=(80, 64), embed_dim=options["embed_dim"], depth=1, num_heads=1)
    for mode, size in options["modes"].items():
        if f"audio_embedding_mode{mode}" not in fixture:
            continue
        config = M2DClapConfig(
            audio_config=audio_config,
            audio_projector="semantic",
            semantic_depth=size["depth"],
            semantic_mlp_ratio=float(size["mlp_ratio"]),
            text_projector="linear",
            text_dim=options["text_dim"],
        )
        projector = M2DClapModel(config).audio_proj
        assert projector.norm.eps == options["layer_norm_eps_semantic"]
        load_part(projector, fixture.weights(f"w{mode}."), "audio_proj.")
        fixture.assert_close(projector(fixture["audio_tokens"]), f"audio_embedding_mode{mode}", **tolerance)

    audio = fixture["audio_embedding_mode1"]
    for kind, prefix in (("linear", "wl."), ("mlp", "wm.")):
        config = M2DClapConfig(audio_config=audio_config, text_projector=kind, text_dim=options["text_dim"])
        model = M2DClapModel(config)
        load_part(model.text_proj, fixture.weights(prefix), "text_proj.")
        text = model.embed_text_vectors(fixture["text_embedding"])
        fixture.assert_close(text, f"text_{kind}", **tolerance)
        fixture.assert_close(cosines(text, audio), f"cosine_text_audio_{kind}", **tolerance)
    fixture.assert_close(cosines(fixture["text_embedding"], audio), "cosine_text_audio_none", **tolerance)
