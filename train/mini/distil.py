"""Distil the tagger into the tower of mmret-mini: M2D-X's offline task with a tagger as the teacher.

    accelerate launch train/mini/distil.py train/configs/mini_distil.yaml --work-dir WORK_DIR --output-dir RUN

The student hears the log-mel of an example of examples.py and predicts, for exactly these samples, the tagger's
embedding of every 0.32 s, its mean, and the 527 logits.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmret.cli.script import run_script
from mmret.models.conv_clap import ConvClapConfig, ConvClapModel
from mmret.training import TrainingConfig, fit

SHIFT_FRAMES = 32  # one step of the tagger's map
LEVEL_SHIFT = 0.7
MAX_MASKED_MELS = 8
MAX_MASKED_FRAMES = 24
AUGMENT_CHANCE = 0.5
STATISTICS_ROWS = 4000


class StoredExamples:
    """Examples of examples.py as training data; logits and map are standardised over the corpus."""

    def __init__(self, folder: Path) -> None:
        self._log_mel, self._map, self._logits = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("log_mel", "map", "logits")
        )
        rows = np.linspace(0, len(self) - 1, STATISTICS_ROWS).astype(int)
        log_mel, maps, logits = (a[rows].astype(np.float32) for a in (self._log_mel, self._map, self._logits))
        self.norm = float(log_mel.mean()), float(log_mel.std())
        self.map_mean, self.map_std = maps.mean((0, 1)), maps.mean(1).std(0)
        self.logit_mean, self.logit_std = logits.mean(0), logits.std(0)

    def __len__(self) -> int:
        """Count the examples."""
        return len(self._logits)

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        """log_mel (batch, 1, 80, frames), map (batch, steps, 384) and logits (batch, 527), float32."""
        rows = np.sort(np.asarray(indices))
        return {
            "log_mel": torch.from_numpy(self._log_mel[rows])[:, None].float(),
            "map": torch.from_numpy((self._map[rows] - self.map_mean) / self.map_std),
            "logits": torch.from_numpy((self._logits[rows] - self.logit_mean) / self.logit_std),
        }


def augment(log_mel: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Circular shift in time (with the map), level, one masked band and one masked span, each for half of the rows."""
    batch, _, mels, frames = log_mel.shape
    steps = frames // SHIFT_FRAMES

    def draw(high: int) -> Tensor:
        return torch.randint(high, (batch,), generator=generator)

    def chosen() -> Tensor:
        return torch.rand(batch, generator=generator) < AUGMENT_CHANCE

    shift = draw(steps) * chosen()
    frame_index = (torch.arange(frames) + shift[:, None] * SHIFT_FRAMES) % frames
    step_index = (torch.arange(steps) + shift[:, None]) % steps
    log_mel = log_mel.gather(3, frame_index[:, None, None, :].expand(-1, -1, mels, -1))
    maps = maps.gather(1, step_index[..., None].expand(-1, -1, maps.shape[-1]))
    level = (torch.rand(batch, generator=generator) * 2 - 1) * LEVEL_SHIFT * chosen()
    hidden = _span(mels, draw(MAX_MASKED_MELS + 1) * chosen(), generator)[:, None, :, None]
    hidden = hidden | _span(frames, draw(MAX_MASKED_FRAMES + 1) * chosen(), generator)[:, None, None, :]
    return (log_mel + level[:, None, None, None]).masked_fill(hidden, float(log_mel.mean())), maps


def _span(size: int, width: Tensor, generator: torch.Generator) -> Tensor:
    start = (torch.rand(len(width), generator=generator) * (size - width + 1)).long()[:, None]
    position = torch.arange(size)
    return (position >= start) & (position < start + width[:, None])


class Distillation(nn.Module):
    """What the tower learns: the tagger's map, embedding and logits of an augmented example."""

    def __init__(self, model: ConvClapModel, data: StoredExamples) -> None:
        super().__init__()
        self.tower, self.heads = model.tower, model.teacher_heads
        self.register_buffer("logit_mean", torch.from_numpy(data.logit_mean))
        self.register_buffer("logit_std", torch.from_numpy(data.logit_std))

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Loss and its parts; `batch` as StoredExamples gives it."""
        steps = batch["log_mel"].shape[-1] // SHIFT_FRAMES
        log_mel, maps = augment(batch["log_mel"], batch["map"][:, :steps], generator)
        predicted = self.heads.embedding_steps(self.tower(log_mel)).float()
        embedding, target = predicted.mean(dim=1), maps.mean(dim=1)
        logits = self.heads.tags(embedding).float()
        parts = {
            "embedding": functional.mse_loss(embedding, target)
            + 1
            - functional.cosine_similarity(embedding, target).mean(),
            "map": functional.mse_loss(functional.avg_pool1d(predicted.transpose(1, 2), 2).transpose(1, 2), maps),
            "logits": functional.mse_loss(logits, batch["logits"]),
            "tags": self._tag_divergence(logits, batch["logits"]),
        }
        weights = {"embedding": 1.0, "map": 0.3, "logits": 0.5, "tags": 0.3}
        return {"loss": sum(weights[name] * part for name, part in parts.items()), **parts}

    def _tag_divergence(self, logits: Tensor, target: Tensor) -> Tensor:
        """Binary divergence from the tagger's probabilities, summed over the tags."""
        probability = (target * self.logit_std + self.logit_mean).sigmoid()
        own = functional.binary_cross_entropy(probability, probability, reduction="none")
        cross = functional.binary_cross_entropy_with_logits(
            logits * self.logit_std + self.logit_mean, probability, reduction="none"
        )
        return (cross - own).sum(dim=-1).mean()


def main() -> None:
    """Train from the command line; run the same command again to resume."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--output-dir", type=Path, required=True)
    args = parser.parse_args()
    config = replace(TrainingConfig.from_yaml(args.config), output_dir=str(args.output_dir))
    torch.manual_seed(config.seed)
    data = StoredExamples(args.work_dir / "examples")
    mean, std = data.norm
    model = ConvClapModel(ConvClapConfig(norm_mean=mean, norm_std=std))
    model.teacher_heads.logit_mean.copy_(torch.from_numpy(data.logit_mean))
    model.teacher_heads.logit_std.copy_(torch.from_numpy(data.logit_std))
    fit(Distillation(model, data), data, config)


if __name__ == "__main__":
    run_script(main)
