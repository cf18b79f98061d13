"""Train M2D-CLAP on stored log-mels and sentence vectors: masked prediction and captions at once.

    accelerate launch train/m2d_clap.py train/configs/m2d_clap_mini.yaml \\
        --data-dir LOG_MEL_DIR --vectors captions.npz --output-dir RUN

A vectors file holds, by file name, the vectors (captions, dim) of a recording's captions; one is drawn at each visit.
Several files may be given. --start-from M2D_RUN/model begins with a pre-trained M2D, its normalisation included.
--text-encoder FOLDER puts the BERT that made the vectors, pooled as model.text_pooling says, into RUN/model, which then
reads text as well. Settings and resumption as in train/m2d.py. M2DClapModel opens RUN/model.
"""

from __future__ import annotations

import copy
import zipfile
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from recipe import Recipe, open_crops, recipe_parser, require_model, save  # what the recipes share
from torch import Tensor, nn
from transformers import AutoTokenizer, BertModel

from mmret.cli.script import run_script
from mmret.data.log_mel_crops import CaptionedCrops
from mmret.errors import TrainingError
from mmret.models.m2d import M2DConfig
from mmret.models.m2d_clap import M2DClapConfig, M2DClapForPreTraining, M2DClapModel
from mmret.models.m2d_pretraining import M2DForPreTraining
from mmret.models.m2d_start import start_config
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


def with_text(trained: M2DClapForPreTraining, text: BertModel) -> M2DClapModel:
    """Both towers of a trained model and its sentence encoder in one; predictor and target are left behind."""
    config = copy.deepcopy(trained.config)
    config.text_config = text.config
    model = M2DClapModel(config)
    missing = model.load_state_dict(trained.state_dict(), strict=False).missing_keys
    assert all(name.startswith("text_model.") for name in missing), missing
    model.text_model.load_state_dict(text.state_dict())
    return model


def open_text(source: str, dim: int) -> BertModel:
    """Sentence encoder, refused unless it makes vectors of this width."""
    require_model(source, "google-bert/bert-base-uncased")
    text = BertModel.from_pretrained(source, add_pooling_layer=False)
    if text.config.hidden_size != dim:
        raise TrainingError(
            f"{source} makes vectors {text.config.hidden_size} wide, those of --vectors are {dim} wide: "
            "give the encoder that made them"
        )
    return text


def open_vectors(path: Path) -> np.lib.npyio.NpzFile:
    """Sentence vectors by the name of the recording; TrainingError where the file is none of vectors."""
    try:
        vectors = np.load(path)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} is no NPZ file of sentence vectors") from error
    if not isinstance(vectors, np.lib.npyio.NpzFile):
        raise TrainingError(f"{path} holds one array; give an NPZ file with the sentence vectors by file name")
    return vectors


def main() -> None:
    """Train from the command line."""
    parser = recipe_parser(__doc__)
    parser.add_argument("--vectors", type=Path, nargs="+", required=True, help="NPZ files of sentence vectors")
    parser.add_argument("--start-from", type=Path, help="folder of a pre-trained M2D of the same sizes")
    parser.add_argument("--text-encoder", help="folder or hub id of the BERT that made the vectors")
    args, overrides = parser.parse_known_args()
    recipe = Recipe.read(args, overrides, M2DClapConfig)

    audio_settings = dict(recipe.model["audio_config"])
    start = start_config(args.start_from, M2DConfig(**audio_settings)) if args.start_from else None
    statistics = (start.norm_mean, start.norm_std) if start else None
    crops = open_crops(args.data_dir, audio_settings["input_size"][1], recipe, statistics)
    data = CaptionedCrops(crops, [open_vectors(path) for path in args.vectors], sample_generator)
    audio_settings.update(norm_mean=crops.mean, norm_std=crops.std)
    settings = {**recipe.model, "audio_config": audio_settings, "text_dim": data.dim}
    text = open_text(args.text_encoder, data.dim) if args.text_encoder else None

    torch.manual_seed(recipe.training.seed)
    model = M2DClapForPreTraining(M2DClapConfig(**settings))
    if start:
        model.audio_model.load_state_dict(M2DForPreTraining.from_pretrained(args.start_from).state_dict())
    fit(M2DClapObjective(model, recipe), data, recipe.training)
    save(with_text(model, text) if text else model, recipe)
    if text and PartialState().is_main_process:
        AutoTokenizer.from_pretrained(args.text_encoder).save_pretrained(Path(recipe.training.output_dir) / "model")


if __name__ == "__main__":
    run_script(main)
