"""Fine-tuning of all weights on a user's own labels, and by the published protocol: torch and accelerate at work."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForAudioClassification

from mmret.audio.decode import decode_blocks
from mmret.data import CORPORA
from mmret.data.waveform_crops import WaveformCrops, WithTargets
from mmret.encoder.encoder import model_folder
from mmret.encoder.torch_towers import FRAMES_PER_SECOND, TorchTowers, load_towers, open_network
from mmret.losses.classification import binary_cross_entropy, mean_cross_entropy
from mmret.models.fine_tuning import FineTuneConfig, FineTuning, classifier_on
from mmret.tasks.classifier import Facts, refuse_unusable, save_with
from mmret.tasks.fine_tune_recipe import FineTuneRecipe
from mmret.tasks.fine_tuning import Best, fine_tune
from mmret.tasks.finetune import VALID_SHARE, FinetuneReport, OwnData, report_on
from mmret.tasks.pieces import all_pieces, predict
from mmret.tasks.transfer import Labelled, Split, Told, each_recording, with_validation
from mmret.training import TrainingConfig, TrainingData, sample_generator
from mmret.training.weighted import WeightedEpochs, label_balancing_weights

SHORTEST_UNIT_S = 1.0

PiecesOf = Callable[[Path, int, float], Iterable[NDArray[np.float32]]]


@dataclass(frozen=True)
class Hearing:
    """How recordings reach the network: pieces of `unit_s` seconds, and which of them are heard outside training."""

    unit_s: float
    pieces_of: PiecesOf


@dataclass(frozen=True)
class FineTuned:
    """The best epoch, and its logits (test, classes) of the test rows."""

    best: Best
    logits: NDArray[np.float32]


def open_towers(model: str) -> TorchTowers:
    """The network behind a name, a folder or a hub id, on torch."""
    return load_towers(model, model_folder(model))


def fine_tune_split(
    towers: TorchTowers, data: Labelled, split: Split, recipe: FineTuneRecipe, hearing: Hearing, *, log_mels: Any = None
) -> FineTuned:
    """Fine-tune on a split's training rows and keep the best epoch of its validation rows.

    Without validation rows the test rows choose, as in the published protocol, which flatters the result. `log_mels`
    takes the place of the training recordings: stored crops in the order of the training rows.
    """
    training, paths, rate = recipe.training, [clip.path for clip in data.clips], towers.sample_rate
    torch.manual_seed(training.seed)
    network = classifier_on(towers.model, data.classes, recipe.fine_tuning)
    loss = binary_cross_entropy if data.multi_label else mean_cross_entropy
    objective = FineTuning(network, recipe.fine_tuning, loss).to(towers.model.device)

    def logits_of(network: FineTuning, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return predict(
            network, [paths[row] for row in rows], lambda path: hearing.pieces_of(path, rate, hearing.unit_s)
        )

    chosen_by = split.test if split.valid is None else split.valid

    def score(network: FineTuning) -> float:
        return data.metric(logits_of(network, chosen_by), data.targets[chosen_by])

    crops = log_mels or WaveformCrops(
        [paths[row] for row in split.train],
        samples=round(hearing.unit_s * rate),
        sample_rate=rate,
        generator_of=sample_generator,
    )
    best = fine_tune(objective, _epochs(crops, data.targets[split.train], recipe), training, score)
    folder = best.folder
    saved = open_network(str(folder), folder, AutoModelForAudioClassification)
    return FineTuned(best, logits_of(FineTuning(saved, FineTuneConfig()).to(saved.device).eval(), split.test))


def _epochs(crops: Any, targets: NDArray[np.float32], recipe: FineTuneRecipe) -> TrainingData:
    data = WithTargets(crops, targets)
    if not recipe.samples_per_epoch:
        return data
    return WeightedEpochs(data, label_balancing_weights(targets > 0), recipe.samples_per_epoch)


def finetune_whole(
    own: OwnData, model: str, out: Path, recipe: FineTuneRecipe, *, tell: Told | None = None
) -> FinetuneReport:
    """Fine-tune all weights of a model and write OUT, a folder for `mmret classify --model`; whole or not at all."""
    refuse_unusable(out)
    towers = open_towers(model)
    split = with_validation(own.data, own.split, VALID_SHARE, seed=own.seed)
    hearing = Hearing(_unit_s(own, recipe, towers, tell), all_pieces)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-run-") as run:
        training = replace(recipe.training, output_dir=run, seed=own.seed)
        tuned = fine_tune_split(towers, own.data, split, replace(recipe, training=training), hearing)
        best = tuned.best
        report = report_on(own, split, tuned.logits, valid_accuracy=best.score, epoch=_epoch(best, split, training))
        facts = Facts("whole", own.data.classes, {"name": towers.name}, hearing.unit_s, asdict(report))
        save_with(out, lambda folder: _copy(best.folder, folder), facts)
    return report


def _unit_s(own: OwnData, recipe: FineTuneRecipe, towers: TorchTowers, tell: Told | None) -> float:
    """Length of the pieces: the recipe's, else that of the longest recording, but no more than the model's window.

    Every recording is decoded for it, so that one which cannot be read is told before training.
    """
    samples = each_recording(own.paths, lambda row: _length(own.paths[row], towers.sample_rate), tell)
    if recipe.corpus:
        return CORPORA[recipe.corpus].unit_s
    if recipe.fine_tuning.dur_frames is not None:
        return (recipe.fine_tuning.dur_frames - 1) / FRAMES_PER_SECOND  # frames stand at both ends
    longest_s = max(samples) / towers.sample_rate
    return min(max(longest_s, SHORTEST_UNIT_S), towers.windows.window_s)


def _length(path: Path, sample_rate: int) -> int:
    return sum(len(block) for block in decode_blocks(path, sample_rate))


def _epoch(best: Best, split: Split, training: TrainingConfig) -> int:
    per_epoch = max(1, len(split.train) // min(training.batch_size, len(split.train)))
    return int(-(-best.step // per_epoch))


def _copy(source: Path, folder: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(source / name, folder / name)
