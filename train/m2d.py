"""Pre-train M2D on stored log-mels: predict what a slowly moving target network says of hidden patches.

    python train/prepare_log_mels.py AUDIO_DIR LOG_MEL_DIR
    accelerate launch train/m2d.py train/configs/m2d_mini.yaml --data-dir LOG_MEL_DIR --output-dir RUN

Any setting of the configuration can be given after it: --steps 2000 --model.mask_ratio 0.6. Run the same command again
to resume. The trained network is in RUN/model, which AutoModel opens as an encoder.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn
from transformers import PreTrainedModel

from mmret.data.log_mel_crops import LogMelCrops, measure_statistics
from mmret.data.log_mel_folder import LogMels, open_log_mels, read_statistics
from mmret.data.log_mel_pairs import RepeatedLogMels
from mmret.models.m2d import M2DConfig
from mmret.models.m2d_objectives import ema_decay_at
from mmret.models.m2d_pretraining import M2DForPreTraining
from mmret.models.m2d_vit import Block
from mmret.training import TrainingConfig, fit, sample_generator
from mmret.training.config import build, read_settings


@dataclass(frozen=True)
class DataConfig:
    """How samples are made; a list shorter than `min_samples` is repeated to that number.

    noise_ratio is the share of background noise, `online` the input of the online network ("mixed" or "clean"), and
    weighted_sampling makes rare labels frequent.
    """

    min_samples: int = 0
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


class M2DObjective(nn.Module):
    """Masked prediction, with the target network moved after every step."""

    def __init__(self, model: M2DForPreTraining, recipe: Recipe) -> None:
        super().__init__()
        self.model, self._recipe = model, recipe
        if recipe.compile_blocks:
            for block in (module for module in model.modules() if isinstance(module, Block)):
                block.compile()

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Loss of normalised log-mels (batch, 1, mels, frames) under a new mask."""
        return {"loss": self.model(batch["log_mel"], generator=generator).loss}

    def after_step(self, step: int, total_steps: int) -> None:
        """Move the target."""
        self.model.update_target(self._recipe.decay_after(step, total_steps))


def open_crops(folder: Path, frames: int, recipe: Recipe, statistics: tuple[float, float] | None = None) -> LogMelCrops:
    """Random crops of a folder of log-mels, by given statistics (mean, std), its stored ones or measured ones."""
    log_mels = open_log_mels(folder)
    statistics = statistics or statistics_of(folder, log_mels, frames, recipe.training.seed)
    return LogMelCrops(RepeatedLogMels(log_mels, recipe.data.min_samples), frames, statistics, sample_generator)


def statistics_of(folder: Path, log_mels: LogMels, frames: int, seed: int) -> tuple[float, float]:
    """Mean and deviation of log-mels: those stored beside them, or measured on random crops."""
    return read_statistics(folder) or measure_statistics(log_mels, frames, np.random.default_rng(seed))


def recipe_parser(description: str | None) -> argparse.ArgumentParser:
    """Command line that the pre-training recipes share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="a file of train/configs")
    parser.add_argument("--data-dir", type=Path, required=True, help="what train/prepare_log_mels.py wrote")
    parser.add_argument("--output-dir", type=Path, help="folder of the run; runs/CONFIG if not given")
    return parser


def save(model: PreTrainedModel, recipe: Recipe) -> None:
    """Write RUN/model once, whatever the number of processes."""
    if PartialState().is_main_process:
        model.save_pretrained(Path(recipe.training.output_dir) / "model")


def main() -> None:
    """Train from the command line."""
    args, overrides = recipe_parser(__doc__).parse_known_args()
    recipe = Recipe.read(args, overrides)
    data = open_crops(args.data_dir, recipe.model["input_size"][1], recipe)
    torch.manual_seed(recipe.training.seed)
    model = M2DForPreTraining(M2DConfig(norm_mean=data.mean, norm_std=data.std, **recipe.model))
    fit(M2DObjective(model, recipe), data, recipe.training)
    save(model, recipe)


if __name__ == "__main__":
    main()
