"""Linear probe: fixed features of ESC-50's clips -> standardise -> logistic regression -> accuracy on the test folds.

    python eval/linear_probe.py --data ESC-50 --log-mel --out eval/results/probe_log_mel.json
    python eval/linear_probe.py --data ESC-50 --model mmret-mini --out eval/results/probe_mini.json
    python eval/linear_probe.py --data ESC-50 --features teacher.npz --out eval/results/probe_teacher.json

A feature file holds `files` (clip names) and arrays (clips, dim). The strength C of the regression is the one with the
best accuracy when each training fold is left out in turn; the test folds are looked at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mmret
from mmret._optional import require
from mmret.cli.script import run_script
from mmret.data import Clip, read_esc50
from mmret.errors import MmretError
from mmret.metrics import bootstrap_interval
from mmret.metrics.result_file import describe_model, write_result

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
Features = NDArray[np.float32]


def stored_features(path: Path, array: str, clips: Sequence[Clip]) -> Features:
    """Rows of a feature file in the order of clips: (clips, dim)."""
    stored = np.load(path)
    row = {Path(str(name)).stem: number for number, name in enumerate(stored["files"])}
    lacking = [clip.path.name for clip in clips if clip.path.stem not in row]
    if lacking:
        raise MmretError(f"{path} lacks {len(lacking)} of {len(clips)} clips, {lacking[0]} for one")
    return stored[array].astype(np.float32)[[row[clip.path.stem] for clip in clips]]


def log_mel_features(clips: Sequence[Clip]) -> Features:
    """Mean over time of the log-mel of each clip: (clips, mels)."""
    from mmret.audio.decode import decode
    from mmret.audio.logmel import LogMel, LogMelConfig

    config = LogMelConfig()
    front_end = LogMel(config)
    return np.stack([front_end(decode(clip.path, config.sample_rate)).mean(axis=-1) for clip in clips])


def probe_classes(train: tuple[Features, NDArray[np.int64]], test: Features, strength: float) -> NDArray[np.int64]:
    """Classes (clips,) that a logistic regression on standardised train features gives to test (clips, dim)."""
    linear = require("sklearn.linear_model", extra="dev")
    mean, deviation = train[0].mean(axis=0), train[0].std(axis=0) + 1e-8
    model = linear.LogisticRegression(C=strength, max_iter=2000)
    model.fit((train[0] - mean) / deviation, train[1])
    return np.asarray(model.predict((test - mean) / deviation))


def best_strength(features: Features, labels: NDArray[np.int64], folds: NDArray[np.int64]) -> float:
    """The strength with the best accuracy over training folds that are left out in turn; the weaker of equals."""
    scores = {strength: 0.0 for strength in STRENGTHS}
    for fold in np.unique(folds):
        kept = folds != fold
        for strength in STRENGTHS:
            predicted = probe_classes((features[kept], labels[kept]), features[~kept], strength)
            scores[strength] += float((predicted == labels[~kept]).sum())
    return max(STRENGTHS, key=lambda strength: scores[strength])


def probe(
    features: Features, clips: Sequence[Clip], test_folds: Sequence[int], strength: float | None
) -> dict[str, Any]:
    """Accuracy on the test folds of a probe trained on the others, with a 95 % interval over clips."""
    labels = np.array([clip.target for clip in clips])
    folds = np.array([clip.fold for clip in clips])
    test = np.isin(folds, test_folds)
    if strength is None:
        strength = best_strength(features[~test], labels[~test], folds[~test])
    predicted = probe_classes((features[~test], labels[~test]), features[test], strength)
    correct = (predicted == labels[test]).astype(np.float64)
    interval = bootstrap_interval(correct, np.arange(correct.size), generator=np.random.default_rng(0))
    return {
        "sizes": {"train": int((~test).sum()), "A": int(test.sum()), "dim": features.shape[1]},
        "metrics": {"accuracy": float(correct.mean()), "strength": strength},
        "intervals": {"accuracy": interval},
    }


def _features(arguments: argparse.Namespace, clips: Sequence[Clip]) -> tuple[Features, dict[str, Any]]:
    """Features (clips, dim) and what made them."""
    if arguments.features:
        name = f"{arguments.features.stem}:{arguments.array}"
        return stored_features(arguments.features, arguments.array, clips), {"name": name}
    if arguments.log_mel:
        return log_mel_features(clips), {"name": "log-mel mean"}
    encoder = mmret.Encoder.from_pretrained(arguments.model)
    return encoder.encode_audio([clip.path for clip in clips]), describe_model(encoder)


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate as the arguments say and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--model", default="mmret-mini", help="name, folder or hub id")
    source.add_argument("--features", type=Path, help="npz with files (clips,) and the array named by --array")
    source.add_argument("--log-mel", action="store_true", help="time-mean of the log-mel")
    parser.add_argument("--array", default="embedding")
    parser.add_argument("--data", type=Path, required=True, help="folder in ESC-50's layout")
    parser.add_argument("--train-folds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--test-folds", type=int, nargs="+", default=[4])
    parser.add_argument("--strength", type=float, help="C of the regression; default: chosen on the training folds")
    parser.add_argument("--label", help="name of the row in docs/results.md")
    parser.add_argument("--out", type=Path, default=Path("eval/results/linear_probe.json"))
    arguments = parser.parse_args(argv)

    clips = read_esc50(arguments.data, folds=[*arguments.train_folds, *arguments.test_folds])
    features, model = _features(arguments, clips)
    figures = probe(features, clips, arguments.test_folds, arguments.strength)
    folds = {"train_folds": arguments.train_folds, "test_folds": arguments.test_folds}
    label = arguments.label or model["name"]
    protocol = {"name": "linear_probe", "label": label, "data": arguments.data.resolve().name, **folds}
    path = write_result(arguments.out, {"protocol": protocol, "model": model, **figures})
    print(f"accuracy {figures['metrics']['accuracy']:.4f} (C {figures['metrics']['strength']:g})  -> {path}")


if __name__ == "__main__":
    run_script(main)
