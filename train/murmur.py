"""Fine-tune an encoder to hear heart murmurs: CirCor DigiScope, patients as the PhysioNet Challenge 2022 scores them.

    accelerate launch train/murmur.py train/configs/murmur.yaml --data CIRCOR --start-from M2D --output-dir RUN

M2D is a model folder (mmret convert makes one of a published checkpoint), or a shipped name; --untrained takes its
network with random weights. Any setting can be given after the configuration: --split 2 --seed 9. The same command goes
on with a run that was stopped. RUN/best is what `mmret murmur score --model` takes and eval/murmur.py tests. For
research: not a medical device.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from accelerate import PartialState
from model_settings import group  # the neighbouring file
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedModel

from mmret.cli.script import run_script
from mmret.data.circor import MURMURS, read_circor, split_parts
from mmret.data.heart_segments import HeartSegments
from mmret.encoder.encoder import PRETRAINED
from mmret.errors import ModelFormatError, TrainingError
from mmret.losses.classification import balanced_weights, weighted_cross_entropy
from mmret.models.fine_tuning import FineTuneConfig, FineTuning, Loss, classifier_on
from mmret.tasks.fine_tuning import fine_tune
from mmret.training import TrainingConfig
from mmret.training.config import build, read_settings

LOSSES = ("softmax_twice", "plain", "stressed")
STRESS = (1.0, 3.0, 5.0)  # of Absent, Present and Unknown, as the public code has them


@dataclass(frozen=True)
class Recipe:
    """What a configuration file says: the split, the loss, what happens to a clip, and the run."""

    split: int
    loss: str
    fine_tuning: FineTuneConfig
    training: TrainingConfig

    @classmethod
    def read(cls, args: argparse.Namespace, overrides: list[str]) -> Recipe:
        """Settings of args.config under those of the command line."""
        settings = read_settings(args.config, overrides)
        own = {name: settings.pop(name) for name in ("split", "loss") if name in settings}
        augmentation = build(FineTuneConfig, group("fine_tuning", settings.pop("fine_tuning", {})))
        folder = args.output_dir or settings.get("output_dir") or Path("runs") / args.config.stem
        training = build(TrainingConfig, {**settings, "output_dir": str(folder)})
        return build(cls, {**own, "fine_tuning": augmentation, "training": training})


def murmur_loss(name: str, counts: Tensor) -> Loss:
    """Weighted cross entropy of logits and targets, both (batch, 3), from the training segments of each class (3,).

    "softmax_twice", as published in 2024, takes probabilities for logits; "plain" does not; "stressed", of 2025,
    weighs classes by the square root of 1, 3 and 5 on top, all weights together 1.
    """
    if name not in LOSSES:
        raise TrainingError(f"loss {name!r} is none of {', '.join(LOSSES)}")
    weights = balanced_weights(counts)
    if name == "stressed":
        weights = weights * torch.tensor(STRESS).sqrt()
        weights = weights / weights.sum()

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        heard = logits.softmax(dim=-1) if name == "softmax_twice" else logits
        return weighted_cross_entropy(heard, targets, weights.to(logits.device))

    return loss


@torch.no_grad()
def segment_accuracy(objective: FineTuning, segments: HeartSegments, batch: int) -> float:
    """Share of segments that get their patient's label: what chooses the epoch."""
    device = next(objective.parameters()).device
    right = 0
    for start in range(0, len(segments), batch):
        rows = range(start, min(start + batch, len(segments)))
        predicted = objective.predict(segments.batch(rows, 0, 0)["waveform"].to(device)).argmax(dim=1)
        right += int((predicted.cpu().numpy() == segments.labels[list(rows)]).sum())
    return right / len(segments)


def open_encoder(name: str, *, untrained: bool) -> PreTrainedModel:
    """Encoder of a folder or of a shipped name; with random weights where untrained."""
    folder = PRETRAINED / name if (PRETRAINED / name).is_dir() else Path(name)
    if not (folder / "config.json").is_file():  # transformers would take it for a hub id and go to the network
        raise ModelFormatError(f"{name}: no such model folder; give one with a config.json, or a shipped name")
    config = AutoConfig.from_pretrained(folder)
    return AutoModel.from_config(config) if untrained else AutoModel.from_pretrained(folder, dtype=torch.float32)


def main() -> None:
    """Fine-tune and test from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("config", type=Path, help="a file of train/configs")
    parser.add_argument("--data", type=Path, required=True, help="copy of CirCor DigiScope 1.0.3")
    parser.add_argument("--start-from", required=True, metavar="MODEL", help="folder of an encoder, or a shipped name")
    parser.add_argument("--untrained", action="store_true", help="random weights in the network of --start-from")
    parser.add_argument("--output-dir", type=Path, help="folder of the run; runs/CONFIG if not given")
    parser.add_argument("--split", type=int, help="1, 2 or 3: a published split; 0: one drawn with the seed")
    parser.add_argument("--seed", type=int, help="seed of the run; the five published ones are 8 to 12")
    args, overrides = parser.parse_known_args()
    given = [(f"--{name}", str(vars(args)[name])) for name in ("split", "seed") if vars(args)[name] is not None]
    recipe = Recipe.read(args, [*overrides, *chain.from_iterable(given)])

    parts = split_parts(read_circor(args.data), recipe.split, recipe.training.seed)
    train, valid = HeartSegments(parts["train"]), HeartSegments(parts["valid"])
    torch.manual_seed(recipe.training.seed)
    classifier = classifier_on(open_encoder(args.start_from, untrained=args.untrained), MURMURS, recipe.fine_tuning)
    loss = murmur_loss(recipe.loss, train.counts())
    score = partial(segment_accuracy, segments=valid, batch=recipe.training.batch_size)
    best = fine_tune(FineTuning(classifier, recipe.fine_tuning, loss), train, recipe.training, score)
    if PartialState().is_main_process:
        print(f"{best.folder}: {best.score:.4f} of the validation segments; test it with eval/murmur.py")


if __name__ == "__main__":
    run_script(main)
