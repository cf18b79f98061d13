"""What the pre-training recipes of this folder share: their settings, their samples, and what they leave behind."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from model_settings import group, model_settings  # the neighbouring file
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from mmret.data.log_mel_crops import LogMelCrops, measure_statistics
from mmret.data.log_mel_folder import LogMels, open_log_mels, read_statistics
from mmret.data.log_mel_pairs import RepeatedLogMels
from mmret.errors import ModelFormatError, TrainingError
from mmret.metrics import effective_rank, explained_variance_auc
from mmret.models.m2d import M2DConfig
from mmret.models.m2d_objectives import ema_decay_at
from mmret.training import TrainingConfig, TrainingData, sample_generator
from mmret.training.config import build, read_settings
from mmret.training.fit import Evaluate

MONITORED_AT_ONCE = 64
HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")


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

    def __post_init__(self) -> None:
        """Refuse a moving average that cannot be one."""
        if not all(0 <= decay <= 1 for decay in self.target_decay):
            raise TrainingError(f"target_decay is from 0 to 1, at the start and at the end, not {self.target_decay}")

    @classmethod
    def read(
        cls, args: argparse.Namespace, overrides: list[str], model_class: type[PreTrainedConfig] = M2DConfig
    ) -> Recipe:
        """Settings of args.config under those of the command line; `model` those that a `model_class` has."""
        settings = read_settings(args.config, overrides)
        own = {name: settings.pop(name) for name in ("model", "target_decay", "compile_blocks") if name in settings}
        if "model" in own:
            own["model"] = model_settings(model_class, own["model"], "model")
        data = build(DataConfig, group("data", settings.pop("data", {})))
        folder = args.output_dir or settings.get("output_dir") or Path("runs") / args.config.stem
        training = build(TrainingConfig, {**settings, "output_dir": str(folder)})
        return build(cls, {**own, "data": data, "training": training})

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
    # an abbreviated option would swallow a setting: --data that of --data-dir
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("config", type=Path, help="a file of train/configs")
    parser.add_argument(
        "--data-dir", type=Path, required=True, help="what train/prepare_log_mels.py wrote; see above for more"
    )
    parser.add_argument("--output-dir", type=Path, help="folder of the run; runs/CONFIG if not given")
    return parser


def require_model(source: str, example: str) -> None:
    """Refuse what is neither a folder nor a hub id with its owner: the network would be asked, again and again."""
    if not Path(source).is_dir() and not HUB_ID.fullmatch(source):
        raise ModelFormatError(f"{source}: no such folder, and no hub id such as {example}")


def save(model: PreTrainedModel, recipe: Recipe) -> None:
    """Write RUN/model once, whatever the number of processes."""
    if PartialState().is_main_process:
        folder = Path(recipe.training.output_dir) / "model"
        model.save_pretrained(folder)
        print(f"the model is in {folder}")
