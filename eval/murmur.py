"""Heart murmurs on the test patients of CirCor DigiScope, scored as the PhysioNet Challenge 2022 does.

    python eval/murmur.py --data CIRCOR --split 1 --model RUN/best
    python eval/murmur.py --data CIRCOR --split 1 --model RUN/best --model OTHER/best --label "pair"

Models are what train/murmur.py made; several count by their mean probability. The split must be the one that they were
trained on. Metrics are of the rule (one recording decides); those of the average stand beside them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from mmret.cli.script import run_script
from mmret.data.circor import Patient, read_circor, split_parts
from mmret.errors import MmretError
from mmret.metrics import bootstrap_interval
from mmret.metrics.murmur import MURMUR_CLASSES, MurmurReport, murmur_report
from mmret.metrics.result_file import write_result
from mmret.tasks.murmur import MurmurModel, open_murmur_model, score_recordings


def evaluate(models: Sequence[MurmurModel], patients: Sequence[Patient]) -> dict[str, Any]:
    """Figures of both decisions over patients; the interval of the accuracy is over patients."""
    true = np.array([MURMUR_CLASSES.index(patient.murmur) for patient in patients])
    reports = [
        score_recordings(models, [one.path for one in patient.recordings], patient=patient.id) for patient in patients
    ]
    probabilities = np.array([[report.probabilities[name] for name in MURMUR_CLASSES] for report in reports])
    by_rule = np.array([MURMUR_CLASSES.index(report.label) for report in reports])
    right = (by_rule == true).astype(np.float64)
    interval = bootstrap_interval(right, np.arange(len(right)), generator=np.random.default_rng(0))
    average = murmur_report(true, probabilities.argmax(axis=1), probabilities)
    return {
        "sizes": {"A": sum(len(report.recordings) for report in reports), "patients": len(patients)},
        "metrics": {**_numbers(murmur_report(true, by_rule, probabilities)), "average": _numbers(average)},
        "intervals": {"accuracy": interval},
        "failed": sum(len(report.failed) for report in reports),
    }


def _numbers(report: MurmurReport) -> dict[str, Any]:
    """Every figure by name; null where a class has no patient, since JSON knows no NaN."""
    values = {field.name: getattr(report, field.name) for field in fields(report)}
    return {name: _json(value) for name, value in values.items()}


def _json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_json(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate as the arguments say and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="copy of CirCor DigiScope 1.0.3")
    parser.add_argument("--split", type=int, default=1, help="1, 2 or 3; 0 for one drawn with --seed")
    parser.add_argument("--seed", type=int, default=8, help="seed of the training run; matters to split 0 alone")
    parser.add_argument("--model", action="append", required=True, help="RUN/best of train/murmur.py")
    parser.add_argument("--label", help="name of the row in docs/results.md")
    parser.add_argument("--out", type=Path, default=Path("eval/results/murmur.json"))
    arguments = parser.parse_args(argv)

    models = [open_murmur_model(name) for name in arguments.model]
    if any(model.classes != MURMUR_CLASSES for model in models):
        raise MmretError(f"eval/murmur.py tests models of {', '.join(MURMUR_CLASSES)}: give what train/murmur.py made")
    figures = evaluate(models, split_parts(read_circor(arguments.data), arguments.split, arguments.seed)["test"])
    names = [model.name for model in models]
    about = {"name": "murmur", "label": arguments.label or " + ".join(names), "split": arguments.split}
    path = write_result(arguments.out, {"protocol": about, "model": {"name": names}, **figures})
    metrics = figures["metrics"]
    uar = "none" if metrics["uar"] is None else f"{metrics['uar']:.3f}"
    print(f"weighted accuracy {metrics['weighted_accuracy']:.3f}  UAR {uar}  -> {path}")


if __name__ == "__main__":
    run_script(main)
