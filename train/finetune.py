"""Fine-tune all weights of an encoder on a published corpus, by the protocol of M2D's evaluation (EVAR).

    accelerate launch train/finetune.py train/configs/finetune_esc50.yaml --model models/m2d --data ESC-50

Every fold and seed is a run of its own below the output folder; the same command again goes on where it was stopped.
Any setting of the configuration can be given after it: --seeds [43] --batch_size 32. The epoch is chosen on the
validation part; a corpus without one, such as ESC-50, is chosen on the TEST part, as published, which flatters it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import PartialState

from mmret.cli.script import run_script
from mmret.data import CORPORA
from mmret.data.log_mel_crops import LogMelCrops
from mmret.data.log_mel_folder import open_log_mels, selected, stored_among
from mmret.encoder.torch_towers import TorchTowers
from mmret.errors import TrainingError
from mmret.metrics.classification import over_seeds
from mmret.metrics.result_file import write_result
from mmret.tasks.fine_tune_recipe import FineTuneRecipe
from mmret.tasks.finetune_whole import Hearing, fine_tune_split, open_towers
from mmret.tasks.pieces import first_piece
from mmret.tasks.transfer import Labelled, Split, published_splits
from mmret.training import sample_generator


def stored_crops(folder: Path, data: Labelled, split: Split, frames: int) -> tuple[Split, LogMelCrops]:
    """Random crops of stored log-mels, not normalised, and the split with the training rows that they are of."""
    stored, names = open_log_mels(folder), [data.clips[row].path.stem for row in split.train]
    there = stored_among(stored, names)
    if not all(there):
        print(f"{len(there) - sum(there)} of {len(there)} training recordings have no log-mel and are left out")
    kept = [name for name, is_there in zip(names, there, strict=True) if is_there]
    crops = LogMelCrops(selected(stored, kept), frames, (0.0, 1.0), sample_generator)
    return replace(split, train=split.train[there]), crops


def run(
    arguments: argparse.Namespace, recipe: FineTuneRecipe, data: Labelled, towers: TorchTowers
) -> dict[str, list[float]]:
    """Score of every fold, by seed."""
    splits = published_splits(data, arguments.test_folds)
    hearing = Hearing(CORPORA[recipe.corpus].unit_s, first_piece)
    scores: dict[str, list[float]] = {}
    for seed in recipe.seeds:
        for split in splits:
            folder = arguments.output_dir / f"seed-{seed}-{split.name}"
            training = replace(recipe.training, seed=seed, output_dir=str(folder))
            frames = recipe.fine_tuning.dur_frames or round(hearing.unit_s * 100) + 1
            stored = None
            if arguments.log_mel_dir:
                split, stored = stored_crops(arguments.log_mel_dir, data, split, frames)
            tuned = fine_tune_split(towers, data, split, replace(recipe, training=training), hearing, log_mels=stored)
            score = data.metric(tuned.logits, data.targets[split.test])
            scores.setdefault(str(seed), []).append(score)
            if PartialState().is_main_process:
                print(f"seed {seed}, test {split.name}: {score:.4f} (epoch of step {tuned.best.step})")
    return scores


def result(
    arguments: argparse.Namespace, recipe: FineTuneRecipe, data: Labelled, scores: dict[str, list[float]]
) -> dict[str, Any]:
    """The figures with what they depend on."""
    figure = over_seeds([sum(folds) / len(folds) for folds in scores.values()])
    metric = "map" if data.multi_label else "accuracy"
    splits = published_splits(data, arguments.test_folds)
    protocol = {
        "name": "fine_tuning",
        "label": arguments.label or arguments.model.name,
        "data": recipe.corpus,
        "recipe": arguments.config.stem,
        "test": [split.name for split in splits],
        "seeds": list(recipe.seeds),
        "chosen_by": "test" if splits[0].valid is None else "validation",
        "epochs": recipe.training.epochs,
        "steps": recipe.training.steps,
    }
    return {
        "protocol": protocol,
        "sizes": {"clips": len(data.clips), "classes": len(data.classes)},
        "metrics": {metric: figure.mean, f"{metric}_half_width": figure.half_width},
        "scores": scores,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Train and test as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("config", type=Path, help="a file train/configs/finetune_*.yaml")
    parser.add_argument("--model", type=Path, required=True, help="name or folder of the encoder")
    parser.add_argument("--data", type=Path, required=True, help="your copy of the corpus")
    parser.add_argument("--output-dir", type=Path, help="folder of the runs; runs/CONFIG if not given")
    parser.add_argument("--log-mel-dir", type=Path, help="train on log-mels of train/prepare_log_mels.py")
    parser.add_argument("--test-folds", nargs="+", help="folds that are the test together; default: each in turn")
    parser.add_argument("--label", help="name of the row in docs/results.md")
    parser.add_argument("--out", type=Path, help="result file; OUTPUT_DIR/result.json if not given")
    arguments, overrides = parser.parse_known_args(argv)
    recipe = FineTuneRecipe.from_yaml(arguments.config, overrides)
    default = Path(recipe.training.output_dir or Path("runs") / arguments.config.stem)
    arguments.output_dir = arguments.output_dir or default
    if not recipe.corpus:
        raise TrainingError(f"{arguments.config} names no corpus; give --corpus, one of {', '.join(CORPORA)}")
    corpus = CORPORA[recipe.corpus]
    data = Labelled.of(corpus.read(arguments.data), multi_label=corpus.multi_label)
    towers = open_towers(str(arguments.model))
    figures = result(arguments, recipe, data, run(arguments, recipe, data, towers))
    model = {"name": towers.name, "fingerprint": towers.fingerprint}
    if PartialState().is_main_process:
        print(write_result(arguments.out or arguments.output_dir / "result.json", {"model": model, **figures}))


if __name__ == "__main__":
    run_script(main)
