"""The configurations in train/configs say what M2D's authors published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mmret.models.m2d import M2DConfig
from mmret.models.m2d_clap import M2DClapConfig
from mmret.training import TrainingConfig
from mmret.training.config import build, read_settings
from tests.conftest import ROOT

CONFIGS = ROOT / "train" / "configs"

# name: input, patch, patches (rows, columns), masked share
PUBLISHED = {
    "m2d": ((80, 608), (16, 16), (5, 38), 0.7),
    "m2d_06": ((80, 608), (16, 16), (5, 38), 0.6),
    "m2d_40ms": ((80, 200), (16, 4), (5, 50), 0.7),
    "m2d_clap": ((80, 608), (16, 16), (5, 38), 0.7),
}
AUDIOSET_CLIPS = 2_000_000


def parts(name: str) -> tuple[dict[str, Any], list[float], TrainingConfig]:
    """Model settings, decays of the target and the run of a configuration."""
    settings = read_settings(CONFIGS / f"{name}.yaml")
    return settings.pop("model"), settings.pop("target_decay"), build(TrainingConfig, settings)


@pytest.mark.parametrize("name", PUBLISHED)
def test_optimisation_is_the_published_one(name: str) -> None:
    _, target_decay, training = parts(name)
    assert training.base_learning_rate == 3e-4
    assert training.betas == (0.9, 0.95)
    assert training.weight_decay == 0.05
    assert (training.epochs, training.warmup_epochs) == (300, 20)
    assert training.clip_norm == 3.0
    assert (training.schedule, training.min_learning_rate) == ("cosine", 0.0)
    assert training.precision == "fp16"
    assert training.batch_size * training.accumulation * 4 == 2048
    assert training.in_steps(AUDIOSET_CLIPS, 4).learning_rate == pytest.approx(2.4e-3)
    assert target_decay == [0.99995, 0.99999]


@pytest.mark.parametrize("name", PUBLISHED)
def test_network_is_the_published_one(name: str) -> None:
    model, _, _ = parts(name)
    config = M2DConfig(**model.get("audio_config", model))
    assert (config.input_size, config.patch_size, config.grid_size, config.mask_ratio) == PUBLISHED[name]
    assert (config.embed_dim, config.depth, config.num_heads, config.mlp_ratio) == (768, 12, 12, 4.0)
    assert (config.decoder_embed_dim, config.decoder_depth, config.decoder_num_heads) == (512, 8, 16)
    assert (config.token_loss, config.standardise_target) == ("norm_mse", True)


def test_clap_weighs_its_losses_as_published() -> None:
    model, _, _ = parts("m2d_clap")
    config = M2DClapConfig(**model)
    assert config.contrastive_weight == 0.01
    assert config.audio_config.online_weight == 1.0
    assert (config.audio_projector, config.text_projector, config.text_dim) == ("mlp", "identity", 768)
    assert config.initial_logit_scale == pytest.approx(2.659260036932778)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("m2d*mini.yaml")), ids=lambda path: path.stem)
def test_mini_configurations_fit_two_cores(path: Path) -> None:
    model, _, training = parts(path.stem)
    config = M2DConfig(**model.get("audio_config", model))
    assert (config.embed_dim, config.depth, config.num_heads, config.input_size) == (192, 6, 3, (80, 256))
    assert (config.decoder_embed_dim, config.decoder_depth) == (128, 2)
    assert training.steps > 0 and training.epochs == 0 and training.precision == "bf16"
    assert "_base" in yaml.safe_load(path.read_text())
