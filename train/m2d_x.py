"""Pre-train M2D for a field of its own: M2D-X, and with labels M2D-AS.

    accelerate launch train/m2d_x.py train/configs/m2d_x_mini.yaml --data-dir RECORDINGS --output-dir RUN

DATA and --background-dir are folders of recordings, or what train/prepare_log_mels.py made of them. The additional task
is the configuration's model.offline_task: "distil" learns the features of a frozen --teacher M2D on clean sound, "tags"
the labels of --labels, a CSV file with the columns file_name and labels, and "none" is masked prediction alone.
data.noise_ratio mixes in background noise; data.min_samples repeats a short list. --start-from goes on from a folder or
a published .pth. Settings and resumption as in train/m2d.py; RUN/model opens like any M2D.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from m2d import M2DObjective  # the neighbouring recipe
from prepare_log_mels import log_mels_of
from recipe import Recipe, monitor, open_crops, recipe_parser, save, statistics_of
from torch import Tensor

from mmret.cli.script import run_script
from mmret.data.log_mel_crops import LogMelCrops
from mmret.data.log_mel_folder import open_log_mels
from mmret.data.log_mel_pairs import Background, PairedCrops, RepeatedLogMels, WeightedSamples
from mmret.data.offline_targets import Tags, read_tags
from mmret.errors import TrainingError
from mmret.models.m2d import M2DConfig
from mmret.models.m2d_features import M2DFeatures
from mmret.models.m2d_pretraining import M2DForPreTraining
from mmret.models.m2d_start import open_teacher, start_from
from mmret.training import fit, sample_generator


class M2DXObjective(M2DObjective):
    """Masked prediction and the additional task, whose target is in the batch or comes from a frozen teacher."""

    def __init__(self, model: M2DForPreTraining, recipe: Recipe, teacher: M2DFeatures | None = None) -> None:
        super().__init__(model, recipe)
        # no module of ours, so that checkpoints do not hold the teacher
        self._teacher = teacher

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Loss and its parts of the pairs of `PairedCrops` under a new mask."""
        step = self.model(batch["log_mel"], generator=generator, offline_target=self._offline_target(batch))
        parts = {"loss": step.loss, "m2d": step.online_loss}
        return parts if step.offline_loss is None else {**parts, "offline": step.offline_loss}

    @torch.no_grad()
    def _offline_target(self, batch: dict[str, Tensor]) -> Tensor | None:
        if self._teacher is None:
            return batch.get("offline_target")
        self._teacher.model.to(batch["log_mel"].device)
        return self._teacher.features(batch["teacher_log_mel"])


def open_background(folder: Path | None, frames: int, recipe: Recipe) -> Background | None:
    """Background noise at the configured ratio, which needs a folder of it; none at ratio 0."""
    ratio = recipe.data.noise_ratio
    if ratio == 0:
        return None
    if folder is None:
        raise TrainingError(f"noise_ratio {ratio} needs --background-dir; or set --data.noise_ratio 0")
    folder = log_mels_of(folder, Path(recipe.training.output_dir) / "background", recipe.sample_rate)
    noise = open_log_mels(folder)
    mean, _ = statistics_of(folder, noise, frames, recipe.training.seed)
    return Background(RepeatedLogMels(noise, recipe.data.min_samples), mean, ratio)


def open_task(kind: str, args: argparse.Namespace, names: Sequence[str]) -> M2DFeatures | Tags | None:
    """What the additional task learns from: a frozen teacher, or labels of these recordings."""
    needed = {"distil": ("--teacher", args.teacher), "tags": ("--labels", args.labels)}
    option, path = needed.get(kind, ("", None))
    if option and path is None:
        raise TrainingError(f"offline_task {kind} needs {option}; or set --model.offline_task none")
    if kind == "distil":
        return M2DFeatures(open_teacher(path), "stacked")
    return read_tags(path, names) if kind == "tags" else None


def weigh(pairs: PairedCrops, tags: Tags | None) -> WeightedSamples:
    """The same samples, those with rare labels more often."""
    if tags is None:
        raise TrainingError("weighted_sampling goes by labels; set --model.offline_task tags and give --labels")
    return WeightedSamples(pairs, tags.sampling_weights(), sample_generator)


def start_model(recipe: Recipe, crops: LogMelCrops, offline_dim: int, source: Path | None) -> M2DForPreTraining:
    """A new network for these crops, with the weights of `source` where one is given."""
    settings = {**recipe.model, "norm_mean": crops.mean, "norm_std": crops.std, "offline_dim": offline_dim}
    torch.manual_seed(recipe.training.seed)
    model = M2DForPreTraining(M2DConfig(**settings))
    if source is not None:
        start_from(model, source)
    return model


def main() -> None:
    """Train from the command line."""
    parser = recipe_parser(__doc__)
    parser.add_argument("--background-dir", type=Path, help="recordings or log-mels of background noise")
    parser.add_argument("--teacher", type=Path, help="folder or .pth of the M2D whose features are learnt")
    parser.add_argument("--labels", type=Path, help="CSV file with the columns file_name and labels")
    parser.add_argument("--start-from", type=Path, help="folder or .pth of a pre-trained M2D of the same sizes")
    args, overrides = parser.parse_known_args()
    recipe = Recipe.read(args, overrides)
    frames = recipe.model["input_size"][1]

    log_mels = log_mels_of(args.data_dir, Path(recipe.training.output_dir) / "log_mels", recipe.sample_rate)
    crops = open_crops(log_mels, frames, recipe)
    task = open_task(recipe.model.get("offline_task", "none"), args, crops.log_mels.names)
    tags = task if isinstance(task, Tags) else None
    background = open_background(args.background_dir, frames, recipe)
    pairs = PairedCrops(crops, background=background, targets=tags, online=recipe.data.online)
    data = weigh(pairs, tags) if recipe.data.weighted_sampling else pairs

    model = start_model(recipe, crops, task.dim if task else 0, args.start_from)
    teacher = task if isinstance(task, M2DFeatures) else None
    watch = monitor(data, recipe.data.monitored, recipe.training.seed)
    fit(M2DXObjective(model, recipe, teacher), data, recipe.training, evaluate=watch)
    save(model, recipe)


if __name__ == "__main__":
    run_script(main)
