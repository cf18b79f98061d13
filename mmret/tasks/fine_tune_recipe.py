"""What a fine-tuning is made of, from a file of train/configs or the defaults of `mmret finetune --whole`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmret.data import CORPORA
from mmret.errors import TrainingError
from mmret.models.fine_tuning import FineTuneConfig
from mmret.training import TrainingConfig
from mmret.training.config import build, read_settings

# Chosen on training parts alone: few epochs, a rate that moves all weights gently, little augmentation.
OWN_FINE_TUNING = FineTuneConfig(freq_mask=8, time_mask=24)
OWN_TRAINING = TrainingConfig(
    epochs=15, warmup_epochs=2, batch_size=32, learning_rate=5e-4, weight_decay=0.01, clip_norm=1.0, log_every=10
)


@dataclass(frozen=True)
class FineTuneRecipe:
    """Augmentation and training of one fine-tuning.

    `corpus` and `seeds` are those of the published protocol; `samples_per_epoch` draws so many clips an epoch, rare
    labels more often, instead of all (AudioSet).
    """

    fine_tuning: FineTuneConfig = OWN_FINE_TUNING
    training: TrainingConfig = OWN_TRAINING
    corpus: str = ""
    seeds: tuple[int, ...] = field(default=(43, 44, 45))
    samples_per_epoch: int = 0

    def __post_init__(self) -> None:
        """Refuse a corpus that is unknown, seeds that are none and numbers that cannot work."""
        if self.corpus and self.corpus not in CORPORA:
            raise TrainingError(f"no corpus is called {self.corpus!r}; known are {', '.join(CORPORA)}")
        if not isinstance(self.seeds, tuple) or not self.seeds or not all(type(seed) is int for seed in self.seeds):
            raise TrainingError(f"seeds is a list of whole numbers, such as [43, 44, 45], not {self.seeds!r}")
        if self.samples_per_epoch < 0:
            raise TrainingError(f"samples_per_epoch must be at least 0, not {self.samples_per_epoch}")

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> FineTuneRecipe:
        """Read a file with a group `fine_tuning`, the protocol's names and the settings of the run."""
        if not Path(path).is_file():
            raise TrainingError(f"{path}: no such file; give a recipe such as train/configs/own_labels.yaml")
        settings = read_settings(path, overrides)
        own: dict[str, Any] = {
            name: settings.pop(name) for name in ("corpus", "seeds", "samples_per_epoch") if name in settings
        }
        group = settings.pop("fine_tuning", {})
        if not isinstance(group, dict):
            raise TrainingError(f"{path}: fine_tuning is a group of settings, not {group!r}")
        fine_tuning = build(FineTuneConfig, group)
        return build(cls, {**own, "fine_tuning": fine_tuning, "training": build(TrainingConfig, settings)})
