"""The configurations in train/configs say what M2D's authors published."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmret.models.m2d import M2DConfig
from mmret.models.m2d_clap import M2DClapConfig
from mmret.training import TrainingConfig
from mmret.training.config import build, read_settings
from tests.conftest import ROOT, SHARED

CONFIGS = ROOT / "train" / "configs"

AUDIOSET_CLIPS = 2_000_000


@dataclass(frozen=True)
class Published:
    """One row of the table of official configurations; `devices` is how many share the batch."""

    row: str
    grid: tuple[int, int]
    ratio: float = 0.7
    epochs: int = 300
    warmup: int = 20
    batch: int = 2048
    devices: int = 4
    weights: tuple[float, float] | None = None
    noise: float = 0.0


PUBLISHED = {
    "m2d": Published("M2D/0.7", (5, 38)),
    "m2d_06": Published("M2D/0.6", (5, 38), ratio=0.6),
    "m2d_40ms": Published("M2D 40 ms", (5, 50)),
    "m2d_clap": Published("M2D-CLAP 2024", (5, 38)),
    "m2d_as": Published("M2D-AS", (5, 38), weights=(1.0, 1.0)),
    "m2d_as_32k": Published("M2D-AS 32k", (5, 38), weights=(1.0, 1.0)),
    "m2d_s_400": Published("M2D-S 4.0 s", (1, 200), 0.6, 1000, 60, weights=(1.0, 0.5), noise=0.2),
    "m2d_s_512": Published("M2D-S 5.12 s", (1, 256), 0.6, 1000, 60, weights=(1.0, 0.5), noise=0.2),
    "m2d_s": Published("M2D-S 6.08 s", (1, 304), 0.6, 1000, 60, weights=(1.0, 0.5), noise=0.2),
    "m2d_s_40ms": Published("M2D-S small demo", (1, 52), 0.6, 1000, 60, devices=1, weights=(1.0, 1.0), noise=0.2),
    "m2d_x_icbhi": Published("M2D-X ICBHI", (5, 50), 0.7, 600, 20, 128, 1, (1.0, 1.0), 0.3),
    "m2d_x_sprsound": Published("M2D-X SPRSound", (5, 50), 0.7, 600, 20, 128, 1, (1.0, 1.0), 0.01),
    "m2d_x_further": Published("further, 2 small GPUs", (5, 38), 0.7, 600, 24, 256, 2, (1.0, 1.0), 0.01),
    "m2d_resp": Published("M2D+Resp", (5, 38), epochs=50),
    "msm_mae": Published("", (5, 38), 0.75),
}


def parts(name: str) -> tuple[dict[str, Any], list[float], TrainingConfig]:
    """Model settings, decays of the target and the run of a configuration."""
    settings = read_settings(CONFIGS / f"{name}.yaml")
    settings.pop("data", None)
    return settings.pop("model"), settings.pop("target_decay"), build(TrainingConfig, settings)


def model_of(name: str) -> M2DConfig:
    """Network of a configuration; the recipe learns from the teacher or the labels how wide the additional task is."""
    model, _, _ = parts(name)
    model = model.get("audio_config", model)
    return M2DConfig(**model, **({"offline_dim": 1} if "offline_task" in model else {}))


def data_of(name: str) -> dict[str, Any]:
    return {"min_samples": 0, "noise_ratio": 0.0, **read_settings(CONFIGS / f"{name}.yaml").get("data", {})}


@pytest.mark.parametrize("name", PUBLISHED)
def test_optimisation_is_the_published_one(name: str) -> None:
    _, target_decay, training = parts(name)
    expected = PUBLISHED[name]
    assert training.base_learning_rate == 3e-4
    assert training.betas == (0.9, 0.95)
    assert training.weight_decay == 0.05
    assert (training.epochs, training.warmup_epochs) == (expected.epochs, expected.warmup)
    assert training.clip_norm == 3.0
    assert (training.schedule, training.min_learning_rate) == ("cosine", 0.0)
    assert training.precision == "fp16"
    assert training.batch_size * training.accumulation * expected.devices == expected.batch
    settled = training.in_steps(AUDIOSET_CLIPS, expected.devices)
    assert settled.learning_rate == pytest.approx(3e-4 * expected.batch / 256)
    assert target_decay == [0.99995, 0.99999]
    assert training.seed == 3


@pytest.mark.parametrize("name", PUBLISHED)
def test_network_is_the_published_one(name: str) -> None:
    config, expected = model_of(name), PUBLISHED[name]
    assert (config.grid_size, config.mask_ratio) == (expected.grid, expected.ratio)
    assert (config.embed_dim, config.depth, config.num_heads, config.mlp_ratio) == (768, 12, 12, 4.0)
    assert config.sample_rate == (32_000 if name == "m2d_as_32k" else 16_000)
    decoder = (config.decoder_embed_dim, config.decoder_depth, config.decoder_num_heads)
    if name == "msm_mae":
        assert (decoder, config.prediction_target) == ((384, 4, 6), "pixels")
        assert (config.token_loss, config.standardise_target) == ("mse", False)
        return
    assert (decoder, config.prediction_target, config.target_input) == ((512, 8, 16), "features", "masked")
    assert (config.token_loss, config.standardise_target) == ("norm_mse", True)
    task = {"m2d_as": "tags", "m2d_as_32k": "tags"}.get(name, "distil")
    assert config.offline_task == (task if expected.weights else "none")
    if expected.weights:
        assert (config.online_weight, config.offline_weight) == expected.weights


@pytest.mark.parametrize("name", PUBLISHED)
def test_noise_and_repetition_are_the_published_ones(name: str) -> None:
    data = data_of(name)
    assert data["noise_ratio"] == PUBLISHED[name].noise
    assert "online" not in data  # the papers' order, which is the default
    # SPRSound is not repeated, 50,000 clips need not be, and AudioSet has no need of it
    assert data["min_samples"] == (10_000 if name.startswith("m2d_s") or name == "m2d_x_icbhi" else 0)


def numbers(cell: str) -> list[float]:
    """Numbers that a cell of the table begins with, in order."""
    return [float(word) for word in re.findall(r"\d*\.?\d+", cell)]


@pytest.mark.parametrize("name", [name for name, published in PUBLISHED.items() if published.row])
def test_configuration_is_the_row_of_the_table_of_the_specification(name: str) -> None:
    specification = SHARED / "specs" / "m2d.md"
    if not specification.is_file():
        pytest.skip(f"no specification at {specification}")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in specification.read_text().splitlines()]
    _, size, patch, patches, ratio, epochs, warmup, batch, _, weights, noise = next(
        row for row in rows if row and row[0] == PUBLISHED[name].row and len(row) == 11
    )
    config, (_, _, training) = model_of(name), parts(name)
    assert list(config.input_size) == numbers(size)[:2]
    assert list(config.patch_size) == numbers(patch)
    assert config.grid_size[0] * config.grid_size[1] == numbers(patches)[0]
    assert config.mask_ratio == numbers(ratio)[0]
    assert (training.epochs, training.warmup_epochs) == (numbers(epochs)[0], numbers(warmup)[0])
    samples = training.batch_size * training.accumulation * PUBLISHED[name].devices
    total = 128 * 16 if batch == "128x16" else numbers(batch)[0]
    assert samples == total
    assert data_of(name)["noise_ratio"] == numbers(noise)[0]
    if PUBLISHED[name].weights:
        assert [config.online_weight, config.offline_weight] == numbers(weights)[:2]


def test_clap_weighs_its_losses_as_published() -> None:
    model, _, _ = parts("m2d_clap")
    config = M2DClapConfig(**model)
    assert config.contrastive_weight == 0.01
    assert config.audio_config.online_weight == 1.0
    assert (config.audio_projector, config.text_projector, config.text_dim) == ("mlp", "identity", 768)
    assert config.initial_logit_scale == pytest.approx(2.659260036932778)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("m2d*mini.yaml")), ids=lambda path: path.stem)
def test_mini_configurations_fit_two_cores(path: Path) -> None:
    _, _, training = parts(path.stem)
    config = model_of(path.stem)
    assert (config.embed_dim, config.depth, config.num_heads, config.input_size) == (192, 6, 3, (80, 256))
    assert (config.decoder_embed_dim, config.decoder_depth) == (128, 2)
    assert training.steps > 0 and training.epochs == 0 and training.precision == "bf16"
    assert "_base" in yaml.safe_load(path.read_text())
