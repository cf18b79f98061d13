"""Pre-train M2D-S on speech: masked prediction, and a speech model's features of the clean sound, under noise.

    python train/speech_features.py SPEECH_DIR FEATURES_DIR --model facebook/hubert-base-ls960
    accelerate launch train/m2d_s.py train/configs/m2d_s_mini.yaml \\
        --data-dir FEATURES_DIR --background-dir NOISE --output-dir RUN

NOISE is a folder of recordings or of log-mels; --data.noise_ratio 0 goes without. Settings and resumption as in
train/m2d.py; RUN/model opens like any M2D.
"""

from __future__ import annotations

from pathlib import Path

from m2d_x import M2DXObjective, open_background, start_model  # the neighbouring recipe
from recipe import Recipe, monitor, recipe_parser, save, statistics_of

from mmret.cli.script import run_script
from mmret.data.log_mel_crops import LogMelCrops
from mmret.data.log_mel_pairs import PairedCrops, RepeatedLogMels
from mmret.data.offline_targets import open_speech
from mmret.training import fit, sample_generator


def main() -> None:
    """Train from the command line."""
    parser = recipe_parser(__doc__)
    parser.add_argument("--background-dir", type=Path, help="recordings or log-mels of background noise")
    parser.add_argument("--start-from", type=Path, help="folder or .pth of a pre-trained M2D of the same sizes")
    args, overrides = parser.parse_known_args()
    recipe = Recipe.read(args, overrides)
    frames, patch_frames = recipe.model["input_size"][1], recipe.model["patch_size"][1]

    targets = open_speech(args.data_dir, frames, patch_frames)
    statistics = statistics_of(args.data_dir, targets.log_mels, frames, recipe.training.seed)
    log_mels = RepeatedLogMels(targets.log_mels, recipe.data.min_samples)
    crops = LogMelCrops(log_mels, frames, statistics, sample_generator)
    background = open_background(args.background_dir, frames, recipe)
    data = PairedCrops(crops, background=background, targets=targets, online=recipe.data.online)

    model = start_model(recipe, crops, targets.dim, args.start_from)
    watch = monitor(data, recipe.data.monitored, recipe.training.seed)
    fit(M2DXObjective(model, recipe), data, recipe.training, evaluate=watch)
    save(model, recipe)


if __name__ == "__main__":
    run_script(main)
