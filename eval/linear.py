"""Linear evaluation of an encoder that stays as it is, by the protocol of M2D's evaluation (EVAR).

    python eval/linear.py --corpus esc50 --data ESC-50 --model mmret-mini --out eval/results/linear_esc50_mini.json

One vector a clip, standardised; a linear layer learnt with Adam and early stopping; the mean over folds, repeated with
each seed on the same vectors. eval/own_labels.py is for recordings of your own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mmret
from mmret.cli.script import run_script
from mmret.data import CORPORA, LEARNT_FOLDS, Corpus
from mmret.heads import LinearConfig
from mmret.metrics import bootstrap_interval
from mmret.metrics.classification import accuracy, over_seeds
from mmret.metrics.result_file import describe_model, write_result
from mmret.tasks.transfer import Labelled, Split, Tested, clip_vectors, learn_and_test, published_splits

SEEDS = (42, 43, 44)


def figures(data: Labelled, tested: dict[int, list[Tested]]) -> dict[str, Any]:
    """Mean over folds and seeds, and of accuracies the bootstrap interval over the test clips of the first seed."""
    by_seed = {seed: [one.score for one in runs] for seed, runs in tested.items()}
    mean = over_seeds([float(np.mean(scores)) for scores in by_seed.values()])
    metric = "accuracy" if data.metric is accuracy else "map"
    found: dict[str, Any] = {
        "metrics": {metric: mean.mean, f"{metric}_half_width": mean.half_width},
        "scores": by_seed,
        "epochs": {seed: [one.fitted.epoch for one in runs] for seed, runs in tested.items()},
    }
    if metric == "accuracy":
        first = next(iter(tested.values()))
        rows = np.concatenate([one.split.test for one in first])
        given = np.concatenate([one.logits.argmax(axis=1) for one in first])
        right = (given == data.targets[rows].argmax(axis=1)).astype(np.float64)
        interval = bootstrap_interval(right, np.arange(right.size), generator=np.random.default_rng(0))
        found["intervals"] = {metric: interval}
    return found


def warnings_of(corpus: Corpus, name: str, model: str, data: Labelled, splits: Sequence[Split]) -> list[str]:
    """What keeps the figure from being the published one, or a fair one: folds that are missing, or were learnt."""
    folds = set(map(str, range(1, corpus.folds + 1)))
    missing, tested = folds - set(data.parts), {fold for split in splits for fold in data.parts[split.test]}
    learnt = tested & set(LEARNT_FOLDS.get((model, name), ()))
    found = []
    if missing:
        found.append(
            f"of the {corpus.folds} folds of {name} this copy lacks {_listed(missing)}: "
            "the figure does not compare with published ones"
        )
    if learnt:
        found.append(
            f"{model} was trained on clips of {name}'s folds {_listed(learnt)}, which are in this test: the figure "
            "flatters it; name folds that it has not heard by --test-folds"
        )
    return found


def summary(tested: dict[int, list[Tested]], metrics: dict[str, Any]) -> str:
    """The figure in percent with what it is a mean of, and each test's own mean over seeds."""
    metric, width = next(iter(metrics)), metrics[f"{next(iter(metrics))}_half_width"]
    names = [one.split.name for one in next(iter(tested.values()))]
    each = 100 * np.mean([[one.score for one in runs] for runs in tested.values()], axis=0)
    seeds = ", ".join(map(str, tested))
    spread = "" if width is None else f" ± {100 * width:.1f} (half of the 95 % interval over seeds)"
    tests = ", ".join(f"{name} {score:.1f}" for name, score in zip(names, each, strict=True))
    return f"{metric} {100 * metrics[metric]:.1f} %{spread}: mean over tests and seeds {seeds}; by test: {tests}"


def _listed(folds: Collection[str]) -> str:
    return ", ".join(sorted(folds, key=int))


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate as the arguments say and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", choices=sorted(CORPORA), required=True)
    parser.add_argument("--data", type=Path, required=True, help="your copy of the corpus")
    parser.add_argument("--model", default="mmret-mini", help="name, folder or hub id")
    parser.add_argument("--runtime", default="auto", choices=("auto", "onnx", "torch"))
    parser.add_argument("--test-folds", nargs="+", help="folds that are the test together; default: each in turn")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--learning-rate", type=float, default=LinearConfig.learning_rate)
    parser.add_argument("--label", help="name of the row in docs/results.md")
    parser.add_argument("--out", type=Path, default=Path("eval/results/linear.json"))
    arguments = parser.parse_args(argv)

    corpus, config = CORPORA[arguments.corpus], LinearConfig(learning_rate=arguments.learning_rate)
    data = Labelled.of(corpus.read(arguments.data), multi_label=corpus.multi_label)
    encoder = mmret.Encoder.from_pretrained(arguments.model, runtime=arguments.runtime)
    # one seed for the crops: the seeds of the protocol share their vectors
    heard = clip_vectors(encoder, [clip.path for clip in data.clips], corpus.unit_s, seed=SEEDS[0])
    for fault in heard.failed:
        print(f"left out: {fault}", file=sys.stderr)
    data, vectors = data.only(heard.rows), heard.vectors
    splits = published_splits(data, arguments.test_folds)
    warnings = warnings_of(corpus, arguments.corpus, encoder.name, data, splits)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    tested = {
        seed: [learn_and_test(data, vectors, split, config, seed=seed) for split in splits] for seed in arguments.seeds
    }
    found = figures(data, tested)
    protocol = {
        "name": "linear",
        "label": arguments.label or encoder.name,
        "data": arguments.corpus,
        "unit_s": corpus.unit_s,
        "test": [split.name for split in splits],
        "seeds": arguments.seeds,
        "learning_rate": arguments.learning_rate,
        "warnings": warnings,
    }
    sizes = {"clips": len(data.clips), "test": sum(len(split.test) for split in splits), "classes": len(data.classes)}
    sizes |= {"dim": vectors.test.shape[1], "left_out": len(heard.failed)}
    model = describe_model(encoder)
    if encoder.has_scenes:
        model["audio_vector"] = "stacked features of the whole clip, mean over time, of any length"
    path = write_result(arguments.out, {"protocol": protocol, "model": model, "sizes": sizes, **found})
    print(f"{summary(tested, found['metrics'])}  -> {path}")


if __name__ == "__main__":
    run_script(main)
