"""A contrastive run to be started in one process or several: FOLDER BATCH_SIZE STEPS."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmret.losses import INITIAL_LOG_SCALE, clamp_log_scale_, infonce_across_processes
from mmret.training import TrainingConfig, fit, sample_generator


class Pairs:
    """Sixty pairs that share a hidden vector."""

    def __len__(self) -> int:
        return 60

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        hidden = torch.stack([torch.from_numpy(sample_generator(0, 0, i).standard_normal(8)) for i in indices]).float()
        return {"audio": hidden.sin(), "text": hidden.cos() + hidden}


class Contrast(nn.Module):
    """Two linear towers in one space."""

    def __init__(self) -> None:
        super().__init__()
        self.audio, self.text = nn.Linear(8, 6), nn.Linear(8, 6)
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": infonce_across_processes(self.audio(batch["audio"]), self.text(batch["text"]), self.log_scale)}

    def after_step(self, step: int, total_steps: int) -> None:
        clamp_log_scale_(self.log_scale)


class BreaksOff(Contrast):
    """Ends its process once it has done a number of steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def after_step(self, step: int, total_steps: int) -> None:
        if step == self.steps:
            sys.exit(9)
        super().after_step(step, total_steps)


def main() -> None:
    """Train from the command line."""
    folder, batch_size, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    torch.manual_seed(1)
    config = TrainingConfig(
        output_dir=folder, steps=6, batch_size=batch_size, accumulation=2, log_every=1, save_every=3
    )
    fit(BreaksOff(steps), Pairs(), config)


if __name__ == "__main__":
    main()
