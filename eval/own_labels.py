"""How well own labels are learnt: what `mmret finetune` does, in Python, with its figures in a result file.

    python eval/own_labels.py labels.csv --audio recordings/ --out eval/results/own_digits_head.json
    python eval/own_labels.py labels.csv --audio recordings/ --whole --out eval/results/own_digits_whole.json

The held-out part is the table's own (column split or fold), else a fifth of each label. With the same table, model and
seed the figures are those of the command.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import mmret
from mmret.cli.script import run_script
from mmret.heads import LinearConfig
from mmret.metrics.result_file import describe_model, write_result
from mmret.tasks.finetune import OWN_LEARNING_RATE, FinetuneReport, finetune_head, read_own_data


def learn(arguments: argparse.Namespace, encoder: mmret.Encoder) -> FinetuneReport:
    """Fine-tune as the arguments say; the classifier itself is not kept."""
    own = read_own_data(arguments.table, audio=arguments.audio, test_folds=arguments.test_fold, seed=arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "classifier"
        if not (arguments.whole or arguments.config):
            config = LinearConfig(learning_rate=OWN_LEARNING_RATE)
            return finetune_head(own, encoder, arguments.model, out, config=config)
        from mmret.tasks.fine_tune_recipe import FineTuneRecipe
        from mmret.tasks.finetune_whole import finetune_whole

        recipe = FineTuneRecipe.from_yaml(arguments.config) if arguments.config else FineTuneRecipe()
        return finetune_whole(own, arguments.model, out, recipe)


def main(argv: Sequence[str] | None = None) -> None:
    """Learn, test and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="CSV with the columns path and label, perhaps split or fold")
    parser.add_argument("--audio", type=Path, help="folder that the paths are below; default: the table's own")
    parser.add_argument("--model", default="mmret-mini", help="name, folder or hub id")
    parser.add_argument("--whole", action="store_true", help="train all weights")
    parser.add_argument("--config", type=Path, help="recipe for all weights, such as train/configs/own_labels.yaml")
    parser.add_argument("--test-fold", nargs="+", help="folds to hold out; default: the last")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--data", help="name of the recordings; default: the table's")
    parser.add_argument("--label", help="name of the row in docs/results.md")
    parser.add_argument("--out", type=Path, default=Path("eval/results/own_labels.json"))
    arguments = parser.parse_args(argv)

    encoder = mmret.Encoder.from_pretrained(arguments.model)
    report = asdict(learn(arguments, encoder))
    kind = "all weights" if arguments.whole or arguments.config else "head"
    label = f"{arguments.label or encoder.name}, {kind}"
    split = {name: report[name] for name in ("split", "seed")}
    recipe = arguments.config.stem if arguments.config else "default"
    protocol = {
        "name": "own_labels",
        "label": label,
        "data": arguments.data or arguments.table.stem,
        "kind": kind,
        "recipe": recipe,
        **split,
    }
    figures = {
        "sizes": {name: report[name] for name in ("train", "valid", "test")} | {"classes": len(report["labels"])},
        "metrics": {name: report[name] for name in ("accuracy", "valid_accuracy", "epoch")},
        "intervals": {"accuracy": report["accuracy_interval"]},
        "per_class": {row.pop("label"): row for row in report["labels"]},
    }
    path = write_result(arguments.out, {"protocol": protocol, "model": describe_model(encoder), **figures})
    print(f"accuracy {report['accuracy']:.4f}  -> {path}")


if __name__ == "__main__":
    run_script(main)
