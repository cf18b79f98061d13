"""Pre-train M2D on stored log-mels: predict what a slowly moving target network says of hidden patches.

    python train/prepare_log_mels.py AUDIO_DIR LOG_MEL_DIR
    accelerate launch train/m2d.py train/configs/m2d_mini.yaml --data-dir LOG_MEL_DIR --output-dir RUN

Any setting of the configuration can be given after it: --steps 2000 --model.mask_ratio 0.6. Run the same command again
to resume. The trained network is in RUN/model, which AutoModel opens as an encoder.
"""

from __future__ import annotations

import torch
from recipe import Recipe, monitor, open_crops, recipe_parser, save  # what the recipes share
from torch import Tensor, nn

from mmret.cli.script import run_script
from mmret.models.m2d import M2DConfig
from mmret.models.m2d_pretraining import M2DForPreTraining
from mmret.models.m2d_vit import Block
from mmret.training import fit


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


def main() -> None:
    """Train from the command line."""
    args, overrides = recipe_parser(__doc__).parse_known_args()
    recipe = Recipe.read(args, overrides)
    data = open_crops(args.data_dir, recipe.model["input_size"][1], recipe)
    torch.manual_seed(recipe.training.seed)
    model = M2DForPreTraining(M2DConfig(norm_mean=data.mean, norm_std=data.std, **recipe.model))
    watch = monitor(data, recipe.data.monitored, recipe.training.seed)
    fit(M2DObjective(model, recipe), data, recipe.training, evaluate=watch)
    save(model, recipe)


if __name__ == "__main__":
    run_script(main)
