"""What the pre-training recipes of this folder share: their settings, their samples, and what they leave behind."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from torch import nn
from transformers import PreTrainedModel

from mmret.data.log_mel_crops import LogMelCrops, measure_statistics
from mmret.data.log_mel_folder import LogMels, open_log_mels, read_statistics
from mmret.data.log_mel_pairs import RepeatedLogMels
from mmret.metrics import effective_rank, explained_variance_auc
from mmret.models.m2d import M2DConfig
from mmret.models.m2d_objectives import ema_decay_at
from mmret.training import TrainingConfig, TrainingData, sample_generator
from mmret.training.config import build, read_settings
from mmret.training.fit import Evaluate

MONITORED_AT_ONCE = 64


@dataclass(frozen=True)
class DataConfig:
    """How samples are made; a list shorter than `min_samples` is repeated to that number.

    noise_ratio is the share of background noise, `online` the input of the online network ("mixed" or "clean"), and
    weighted_sampling makes rare labels frequent. At every checkpoint the log tells how many directions the patch
    features of the first `monitored` samples use.
    """

    min_samples: int = 0
    monitored: int = 0
    noise_ratio: float = 0.0
    online: str = "mixed"
    weighted_sampling: bool = False


@dataclass(frozen=True)
class Recipe:
    """What a configuration file says: of the model, of the target network, of the samples and of the run.

    `compile_blocks` compiles every transformer block with torch.compile; worth its start-up time on a GPU.
    """

    model: Mapping[str, Any]
    target_decay: tuple[float, float]
    training: TrainingConfig
    data: DataConfig = field(default_factory=DataConfig)
    compile_blocks: bool = False

    @classmethod
    def read(cls, args: argparse.Namespace, overrides: list[str]) -> Recipe:
        """Settings of args.config under those of the command line."""
        settings = read_settings(args.config, overrides)
        model, (first, last) = settings.pop("model"), settings.pop("target_decay")
        data, compiled = build(DataConfig, settings.pop("data", {})), bool(settings.pop("compile_blocks", False))
        output_dir = str(args.output_dir or Path("runs") / args.config.stem)
        training = build(TrainingConfig, {**settings, "output_dir": output_dir})
        return cls(model, (first, last), training, data, compiled)

    @property
    def sample_rate(self) -> int:
        """Rate (Hz) that the model hears."""
        return int(self.model.get("sample_rate", M2DConfig.sample_rate))

    def decay_after(self, step: int, total_steps: int) -> float:
        """Decay of the target network after a step; the published schedule counts accumulated passes."""
        passes = self.training.accumulation
        first, last = self.target_decay
        return ema_decay_at((step + 1) * passes - 1, total_steps * passes, first=first, last=last)


def open_crops(folder: Path, frames: int, recipe: Recipe, statistics: tuple[float, float] | None = None) -> LogMelCrops:
    """Random crops of a folder of log-mels, by given statistics (mean, std), its stored ones or measured ones."""
    log_mels = open_log_mels(folder)
    statistics = statistics or statistics_of(folder, log_mels, frames, recipe.training.seed)
    return LogMelCrops(RepeatedLogMels(log_mels, recipe.data.min_samples), frames, statistics, sample_generator)


def statistics_of(folder: Path, log_mels: LogMels, frames: int, seed: int) -> tuple[float, float]:
    """Mean and deviation of log-mels: those stored beside them, or measured on random crops."""
    return read_statistics(folder) or measure_statistics(log_mels, frames, np.random.default_rng(seed))


def monitor(data: TrainingData, count: int, seed: int) -> Evaluate | None:
    """Measures how many directions patch features use, for the log; nothing where count is 0."""
    if count == 0:
        return None

    def measure(objective: nn.Module, step: int) -> dict[str, float]:
        model = objective.model
        parts = []
        for first in range(0, min(count, len(data)), MONITORED_AT_ONCE):
            indices = range(first, min(first + MONITORED_AT_ONCE, count, len(data)))
            log_mel = data.batch(list(indices), 0, seed)["log_mel"].to(model.pos_embed.device)
            parts.append(model.encode_log_mel(log_mel)[-1][:, 1:].flatten(0, 1).float().cpu().numpy())
        features = np.concatenate(parts)
        return {"effective_rank": effective_rank(features), "explained_auc": explained_variance_auc(features)}

    return measure


def recipe_parser(description: str | None) -> argparse.ArgumentParser:
    """Command line that the pre-training recipes share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="a file of train/configs")
    parser.add_argument(
        "--data-dir", type=Path, required=True, help="what train/prepare_log_mels.py wrote; see above for more"
    )
    parser.add_argument("--output-dir", type=Path, help="folder of the run; runs/CONFIG if not given")
    return parser


def save(model: PreTrainedModel, recipe: Recipe) -> None:
    """Write RUN/model once, whatever the number of processes."""
    if PartialState().is_main_process:
        model.save_pretrained(Path(recipe.training.output_dir) / "model")
