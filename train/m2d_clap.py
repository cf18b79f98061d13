"""Train M2D-CLAP on stored log-mels and sentence vectors: masked prediction and captions at once.

    accelerate launch train/m2d_clap.py train/configs/m2d_clap_mini.yaml \\
        --data-dir LOG_MEL_DIR --vectors captions.npz --output-dir RUN

A vectors file holds, by file name, the vectors (captions, dim) of a recording's captions; one is drawn at each visit.
Several files may be given. Settings and resumption as in train/m2d.py. M2DClapModel opens RUN/model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from m2d import Recipe, open_crops, recipe_parser, save  # the neighbouring recipe
from torch import Tensor, nn

from mmret.data.log_mel_crops import CaptionedCrops
from mmret.models.m2d_clap import M2DClapConfig, M2DClapForPreTraining
from mmret.training import fit, sample_generator


class M2DClapObjective(nn.Module):
    """M2D's loss and the contrastive one; after every step the target moves and the temperature is clamped."""

    def __init__(self, model: M2DClapForPreTraining, recipe: Recipe) -> None:
        super().__init__()
        self.model, self._recipe = model, recipe

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Loss and parts of normalised log-mels (batch, 1, mels, frames) and sentence vectors (batch, dim)."""
        step = self.model(batch["log_mel"], batch["text"], generator=generator)
        return {"loss": step.loss, "m2d": step.online_loss, "contrastive": step.contrastive_loss}

    def after_step(self, step: int, total_steps: int) -> None:
        """Move the target and hold the temperature in its range."""
        self.model.audio_model.update_target(self._recipe.decay_after(step, total_steps))
        self.model.clamp_logit_scale()


def main() -> None:
    """Train from the command line."""
    parser = recipe_parser(__doc__)
    parser.add_argument("--vectors", type=Path, nargs="+", required=True, help="NPZ files of sentence vectors")
    args, overrides = parser.parse_known_args()
    recipe = Recipe.read(args, overrides)

    audio_settings = dict(recipe.model["audio_config"])
    crops = open_crops(args.data_dir, audio_settings["input_size"][1], recipe.training.seed)
    data = CaptionedCrops(crops, [np.load(path) for path in args.vectors], sample_generator)
    audio_settings.update(norm_mean=crops.mean, norm_std=crops.std)
    settings = {**recipe.model, "audio_config": audio_settings, "text_dim": data.dim}

    torch.manual_seed(recipe.training.seed)
    model = M2DClapForPreTraining(M2DClapConfig(**settings))
    fit(M2DClapObjective(model, recipe), data, recipe.training)
    save(model, recipe)


if __name__ == "__main__":
    main()
