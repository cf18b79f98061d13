"""Zero-shot classification and text-to-audio search over the classes of a corpus in ESC-50's layout.

    python eval/zero_shot.py --data ESC-50 --folds 4 --target-mod 5 2 --out eval/results/zero_shot_esc50.json

Accuracy: each clip goes to the nearest of the class prompts. Search: the prompts are queries, every clip of the class
is right. A subset of classes (--classes or --target-mod) gets figures of its own, for open-vocabulary tests.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mmret
from mmret.cli.script import run_script
from mmret.data import Clip, read_esc50
from mmret.data.esc50 import class_names
from mmret.errors import MmretError
from mmret.metrics import bootstrap_interval, retrieval_report, zero_shot
from mmret.metrics.prompts import DEFAULT_TEMPLATE, class_prompts
from mmret.metrics.result_file import describe_model, write_result

KEPT = ("hit@1", "recall@10", "map@10", "map@10_min", "mrr", "n_queries", "n_excluded")


def classify(
    encoder: mmret.Encoder, clips: Sequence[Clip], templates: Sequence[str], subset: Sequence[int]
) -> dict[str, Any]:
    """All figures of one encoder over clips: metrics, their intervals, those of the subset of classes, the prompts."""
    prompts = class_prompts(class_names(clips), templates)
    flat = encoder.encode_text([text for texts in prompts for text in texts])
    class_text = flat.reshape(len(prompts), len(templates), -1)
    audio = encoder.encode_audio([clip.path for clip in clips])
    similarity = zero_shot.similarities(audio, zero_shot.prototypes(class_text))
    labels = np.array([clip.target for clip in clips])
    folds = np.array([clip.fold for clip in clips])
    figures = _accuracies(similarity, labels, folds)
    if len(templates) > 1:
        nearest = zero_shot.max_prompt_similarities(audio, class_text)
        figures["metrics"]["acc_max_prompt"] = zero_shot.accuracy(nearest, labels).pooled
    search = _search(similarity, labels, range(len(prompts)))
    return {
        "sizes": {"A": len(clips), "T": len(prompts)},
        "metrics": figures["metrics"] | search["metrics"],
        "intervals": figures["intervals"] | search["intervals"],
        "per_class": figures["per_class"],
        **({"subset": _of_subset(similarity, labels, subset)} if len(subset) else {}),
        "prompts": prompts,
    }


def _accuracies(
    similarity: NDArray[np.float32], labels: NDArray[np.int64], folds: NDArray[np.int64]
) -> dict[str, dict[Any, Any]]:
    """Accuracy of similarity (clips, classes) in every way of averaging; the interval is over clips."""
    accuracy = zero_shot.accuracy(similarity, labels, folds)
    correct = (zero_shot.predict(similarity) == labels).astype(np.float64)
    interval = bootstrap_interval(correct, np.arange(len(labels)), generator=np.random.default_rng(0))
    metrics = {
        "acc_pooled": accuracy.pooled,
        "acc_fold_mean": accuracy.fold_mean,
        "acc_class_mean": accuracy.class_mean,
    }
    return {"metrics": metrics, "intervals": {"acc_pooled": interval}, "per_class": accuracy.per_class}


def _search(similarity: NDArray[np.float32], labels: NDArray[np.int64], queries: Sequence[int]) -> dict[str, Any]:
    """Figures of searching all clips with the prompts of some classes; the interval is over queries."""
    relevant = labels[None, :] == np.asarray(queries)[:, None]
    report = retrieval_report(similarity.T[list(queries)], relevant)
    return {
        "metrics": {f"t2a_{name}": report.metrics[name] for name in KEPT},
        "intervals": {f"t2a_{name}": report.intervals[name] for name in KEPT if name in report.intervals},
    }


def _of_subset(similarity: NDArray[np.float32], labels: NDArray[np.int64], subset: Sequence[int]) -> dict[str, Any]:
    """Clips of some classes: told apart among those classes alone, and among all of them."""
    rows = np.isin(labels, subset)
    among_subset = np.searchsorted(subset, labels[rows])
    own = _accuracies(similarity[rows][:, list(subset)], among_subset, np.zeros(rows.sum(), dtype=np.int64))
    search = _search(similarity, labels, subset)
    return {
        "targets": list(subset),
        "sizes": {"A": int(rows.sum()), "T": len(subset)},
        "acc_among_subset": own["metrics"]["acc_pooled"],
        "acc_among_subset_interval": own["intervals"]["acc_pooled"],
        "acc_among_all": zero_shot.accuracy(similarity[rows], labels[rows]).pooled,
        "t2a_map@10_min": search["metrics"]["t2a_map@10_min"],
    }


def _subset(arguments: argparse.Namespace, names: Sequence[str]) -> list[int]:
    if arguments.target_mod:
        modulus, remainder = arguments.target_mod
        return [target for target in range(len(names)) if target % modulus == remainder]
    unknown = set(arguments.classes) - set(names)
    if unknown:
        raise MmretError(f"no class is called {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    return sorted(names.index(name) for name in arguments.classes)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mmret-mini", help="name, folder or hub id")
    parser.add_argument("--data", type=Path, required=True, help="folder in ESC-50's layout")
    parser.add_argument("--folds", type=int, nargs="+", help="folds to test on; default: all that are there")
    parser.add_argument(
        "--prompt", action="append", help=f"sentence with {{label}}; several are averaged ({DEFAULT_TEMPLATE})"
    )
    subset = parser.add_mutually_exclusive_group()
    subset.add_argument("--classes", nargs="+", default=[], help="classes with figures of their own")
    subset.add_argument(
        "--target-mod", type=int, nargs=2, metavar=("M", "R"), help="the classes whose number %% M is R"
    )
    parser.add_argument("--label", help="name of the row in docs/results.md; default: the model's")
    parser.add_argument("--out", type=Path, default=Path("eval/results/zero_shot.json"))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate as the arguments say and write the result."""
    arguments = _parse(argv)
    templates = arguments.prompt or [DEFAULT_TEMPLATE]
    clips = read_esc50(arguments.data, folds=arguments.folds)
    encoder = mmret.Encoder.from_pretrained(arguments.model)
    figures = classify(encoder, clips, templates, _subset(arguments, class_names(clips)))
    protocol = {
        "name": "zero_shot",
        "label": arguments.label or encoder.name,
        "data": arguments.data.resolve().name,
        "folds": sorted({clip.fold for clip in clips}),
        "templates": templates,
        "ties": "worst",
    }
    path = write_result(arguments.out, {"protocol": protocol, "model": describe_model(encoder), **figures})
    metrics = figures["metrics"]
    print(f"accuracy {metrics['acc_pooled']:.4f}  mAP@10 {metrics['t2a_map@10_min']:.4f}  -> {path}")


if __name__ == "__main__":
    run_script(main)
