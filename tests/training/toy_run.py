"""A small run with every kind of state that a checkpoint must hold: run as a script to be killed from outside."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mmret.training import TrainingConfig, fit, sample_generator

CONFIG = TrainingConfig(
    output_dir="toy",
    steps=20,
    batch_size=8,
    accumulation=2,
    learning_rate=1e-2,
    warmup_steps=3,
    clip_norm=0.5,
    ema_decay=0.9,
    save_every=4,
    log_every=5,
)


class ToyData:
    """Noise that is drawn anew for each sample and epoch; 100 samples make an epoch of 6 steps and a rest."""

    def __len__(self) -> int:
        return 100

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        draws = [sample_generator(seed, epoch, index).standard_normal(6) for index in indices]
        return {"x": torch.from_numpy(np.stack(draws)).float()}


class ToyObjective(nn.Module):
    """Reconstruction of hidden values, with dropout, batch statistics and a target moved after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Dropout(0.2), nn.Linear(12, 6))
        self.target = nn.Linear(6, 6).requires_grad_(False)

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        hidden = torch.rand(batch["x"].shape, generator=generator) < 0.3
        predicted = self.net(batch["x"].masked_fill(hidden, 0.0))
        return {"loss": (predicted - self.target(batch["x"])).square().mean(), "hidden": hidden.float().mean()}

    def after_step(self, step: int, total_steps: int) -> None:
        with torch.no_grad():
            self.target.weight.lerp_(self.net[3].weight[:, :6], step / total_steps / 10)


class KilledAt(ToyObjective):
    """Sends a signal to its own process in the middle of a step, in the second of its two passes."""

    def __init__(self, step: int, number: int) -> None:
        super().__init__()
        self.passes_left, self.number = 2 * step + 1, number

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        if self.passes_left == 0:
            os.kill(os.getpid(), self.number)
        self.passes_left -= 1
        return super().forward(batch, generator)


def toy_objective() -> ToyObjective:
    """The same initial weights each time."""
    torch.manual_seed(3)
    return ToyObjective()


def main() -> None:
    """Train in a folder and get killed in a step (counted from the start or the resumption)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("step", type=int)
    parser.add_argument("signal")
    args = parser.parse_args()
    torch.manual_seed(3)
    objective = KilledAt(args.step, getattr(signal, args.signal))
    fit(objective, ToyData(), replace(CONFIG, output_dir=str(args.folder)))


if __name__ == "__main__":
    main()
