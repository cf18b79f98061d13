"""Fine-tuning of all weights: train and keep the epoch that scores best."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mmret.models.fine_tuning import FineTuning
from mmret.training import TrainingConfig, TrainingData, fit

Score = Callable[[FineTuning], float]

BEST = "best"
SCORE_FILE = "score.json"


@dataclass(frozen=True)
class Best:
    """The epoch that scored best, the last of equals: its score, its step and the folder of the classifier."""

    score: float
    step: int
    folder: Path


def fine_tune(objective: FineTuning, data: TrainingData, config: TrainingConfig, score: Score) -> Best:
    """Train, score every epoch with `score(objective)`, higher is better, and return the best.

    The classifier of the best epoch stands in OUTPUT_DIR/best as a transformers folder. A run that was stopped goes
    on where it was.
    """
    batch = min(config.batch_size, len(data))
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # accelerate is set up by `fit`, which needs the number
    per_epoch = max(1, len(data) // (batch * config.accumulation * processes))
    keep = _KeepBest(Path(config.output_dir) / BEST, score)
    fit(objective, data, replace(config, batch_size=batch, save_every=per_epoch, keep_last=1), evaluate=keep)
    return keep.best


class _KeepBest:
    """Scores the classifier and saves it where no epoch was better."""

    def __init__(self, folder: Path, score: Score) -> None:
        self._folder, self._score = folder, score

    @property
    def best(self) -> Best:
        """The best so far."""
        facts = json.loads((self._folder / SCORE_FILE).read_text())
        return Best(float(facts["score"]), int(facts["step"]), self._folder)

    def __call__(self, objective: torch.nn.Module, step: int) -> dict[str, float]:
        """Score after a step; the log keeps what is returned."""
        assert isinstance(objective, FineTuning)
        score = self._score(objective)
        if not (self._folder / SCORE_FILE).is_file() or score >= self.best.score:
            self._save(objective, score, step)
        return {"score": score}

    def _save(self, objective: FineTuning, score: float, step: int) -> None:
        """Put the new best into the place of the old one; between the two the folder is away, never half-written."""
        with tempfile.TemporaryDirectory(dir=self._folder.parent, prefix=f".{BEST}-") as scratch:
            folder = Path(scratch) / BEST
            objective.classifier.save_pretrained(folder)
            (folder / SCORE_FILE).write_text(json.dumps({"score": score, "step": step}) + "\n")
            shutil.rmtree(self._folder, ignore_errors=True)
            folder.rename(self._folder)
