"""Abnormal heart sounds by transfer: sets of features under one linear head, in random folds and across databases.

    python eval/hearts.py --data HEARTS --encoder mmret-mini mmret-mini --encoder "M2D mini" M2D_RUN/model \\
        --untrained M2D_RUN/model

HEARTS is a copy of the PhysioNet Challenge 2016, or a folder with its recordings and a meta.csv. One file a row,
eval/results/hearts_NUMBER.json; --only 3 evaluates the third row alone. Every set of features that was tried is a row.
The last rows take, for each database that is left out, the set that the other databases choose. Seeds draw the
random folds and the random weights; across databases nothing else is drawn.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import hearts_protocol as protocol  # the neighbouring scripts
import numpy as np
from hearts_features import HeartFeatures
from hearts_protocol import BATCH, INDUCTIVE, Centring, Clips, InnerScores, Outcome
from numpy.typing import NDArray

from mmret.audio.heart_features import HEART_FEATURES
from mmret.cli.script import run_script
from mmret.data import read_physionet2016
from mmret.metrics.murmur import class_areas
from mmret.metrics.result_file import write_result
from mmret.tasks.heart_model import HeartModel
from mmret.tasks.murmur import NO_DEVICE

SEEDS = (0, 1, 2)
BAR = "log_mel_statistics"
MODEL = "heart-cycles"
CITE = "Liu et al., An open access database for the evaluation of heart sound algorithms, Physiol. Meas. 37 (2016) 2181"
VOTERS = ("cycle_contrast", "cycle_template", "rhythm_spectrum")  # before period_profile was thought of
Array = NDArray[np.float64]
Row = Callable[[], dict[str, Any]]
Setting = tuple[Centring, ...]


class Study:
    """Features, labels and databases of all recordings; what rows share is computed once."""

    def __init__(self, clips: Clips, features: HeartFeatures) -> None:
        self.clips, self.features = clips, features
        self.inner_of = cache(self._inner_of)
        self.outcome_of = cache(self._outcome_of)
        self.folds = {seed: protocol.random_folds(clips, seed) for seed in SEEDS}

    def _inner_of(self, name: str, seed: int, setting: Setting) -> InnerScores:
        choices = protocol.candidates([name], setting)
        return protocol.inner_scores(self.features.of(name, seed), self.clips, choices)

    def _outcome_of(self, names: tuple[str, ...], seed: int, setting: Setting) -> Outcome:
        """Every database left out in turn, with what the others choose among these sets."""
        tables = [self.inner_of(name, self.features.seed_of(name, seed), setting) for name in names]
        inner = {letter: {k: v for table in tables for k, v in table[letter].items()} for letter in tables[0]}
        return protocol.leave_one_out({name: self.features.of(name, seed) for name in names}, self.clips, inner)

    def voted(self, seed: int, setting: Setting) -> Array:
        """Log odds (clips,) of the mean probability of the voters, each with its own choices."""
        return log_odds_of_mean([self.outcome_of((name,), seed, setting).scores for name in VOTERS])

    def in_folds(self, name: str, seed: int) -> Array:
        """Log odds (clips,) in random folds."""
        return protocol.random_fold_scores(self.features.of(name, seed), self.clips, self.folds[seed])


def log_odds_of_mean(scores: Sequence[Array]) -> Array:
    """Log odds (clips,) of the mean of the probabilities of several log odds (clips,)."""
    mean = np.mean([1 / (1 + np.exp(-one)) for one in scores], axis=0)
    return np.asarray(np.log(mean / (1 - mean)))


def set_row(study: Study, name: str) -> dict[str, Any]:
    """Figures of one set of features."""
    alone = [study.outcome_of((name,), seed, INDUCTIVE) for seed in SEEDS]
    batch = [study.outcome_of((name,), seed, BATCH).scores for seed in SEEDS]
    folds = [study.in_folds(name, seed) for seed in SEEDS]
    return _row(study.clips, [one.scores for one in alone], batch, folds) | _sizes(study, name, alone[0])


def boosting_row(study: Study) -> dict[str, Any]:
    """Figures of the bar: gradient boosting on log-mel statistics, which has no batch setting."""
    features = study.features.of(BAR, 0)
    alone = [protocol.boosted_by_part(features, study.clips, study.clips.database, seed) for seed in SEEDS]
    folds = [protocol.boosted_by_part(features, study.clips, study.folds[seed], seed) for seed in SEEDS]
    return _row(study.clips, alone, [], folds) | {"sizes": {"A": len(features), "dim": features.shape[1], "sets": 1}}


def voting_row(study: Study) -> dict[str, Any]:
    """Figures of the mean probability of three heads."""
    folds = [log_odds_of_mean([study.in_folds(name, seed) for name in VOTERS]) for seed in SEEDS]
    alone = [study.voted(seed, INDUCTIVE) for seed in SEEDS]
    figures = _row(study.clips, alone, [study.voted(seed, BATCH) for seed in SEEDS], folds)
    return figures | {"sizes": {"A": len(alone[0]), "sets": len(VOTERS)}, "voters": VOTERS}


def chosen_row(study: Study, names: tuple[str, ...]) -> dict[str, Any]:
    """Figures when the set itself is chosen by the other databases, among these."""
    alone = [study.outcome_of(names, seed, INDUCTIVE) for seed in SEEDS]
    batch = [study.outcome_of(names, seed, BATCH) for seed in SEEDS]
    figures = _row(study.clips, [one.scores for one in alone], [one.scores for one in batch], [])
    chosen = {"alone": _chosen(alone[0]), "batch": _chosen(batch[0])}
    return figures | {"sizes": {"A": len(alone[0].scores), "sets": len(names)}, "chosen": chosen}


def _sizes(study: Study, name: str, outcome: Outcome) -> dict[str, Any]:
    rows, dim = study.features.of(name, 0).shape
    return {"sizes": {"A": rows, "dim": dim, "sets": 1}, "chosen": {"alone": _chosen(outcome)}}


def _chosen(outcome: Outcome) -> dict[str, Any]:
    """Set, centring and strength of each database that was left out."""
    return {letter: [one.features, one.centring, one.strength] for letter, one in outcome.chosen.items()}


def _row(clips: Clips, alone: Sequence[Array], batch: Sequence[Array], folds: Sequence[Array]) -> dict[str, Any]:
    """Means and deviations over seeds, MAcc of each database, and the interval of the first seed."""
    metrics: dict[str, Any] = {}
    maccs = {
        "across": [protocol.mean_macc(scores, clips) for scores in alone],
        "across_batch": [protocol.mean_macc(scores, clips) for scores in batch],
        "random_folds": [protocol.macc(scores, clips.abnormal) for scores in folds],
        "auc_across": [mean_auc(scores, clips) for scores in alone],
        "across_pooled": [protocol.macc(scores, clips.abnormal) for scores in alone],
    }
    for name, values in maccs.items():
        if values:
            metrics[name] = float(np.mean(values))
            metrics[f"{name}_deviation"] = float(np.std(values))
    low, high = protocol.mean_macc_interval(alone[0], clips, np.random.default_rng(0))
    return {
        "metrics": metrics,
        "intervals": {"across": [low, high]},
        "per_database": {letter: _mean_over_seeds(alone, clips, letter) for letter in clips.databases()},
    }


def _mean_over_seeds(alone: Sequence[Array], clips: Clips, letter: str) -> float:
    rows = clips.database == letter
    return float(np.mean([protocol.macc(scores[rows], clips.abnormal[rows]) for scores in alone]))


def mean_auc(scores: Array, clips: Clips) -> float:
    """Mean over databases of the area under the ROC curve, which needs no threshold."""
    by_database = [clips.database == letter for letter in clips.databases()]
    return float(np.mean([class_areas(clips.abnormal[rows], scores[rows])[0] for rows in by_database]))


def rows(study: Study) -> Mapping[str, Row]:
    """Way to the figures of every row, in the order of the table."""
    sets = {name: partial(set_row, study, name) for name in study.features.names}
    return {
        f"{BAR}, gradient boosting": partial(boosting_row, study),
        **sets,
        f"mean probability of {', '.join(VOTERS)}": partial(voting_row, study),
        "chosen by the other databases, all sets": partial(chosen_row, study, tuple(sets)),
        "chosen by the other databases, no encoder": partial(chosen_row, study, tuple(HEART_FEATURES)),
    }


def heart_model(study: Study) -> HeartModel:
    """A model of all databases, made as the row "chosen by the other databases, no encoder" makes one of five."""
    sets = {name: study.features.of(name, 0) for name in HEART_FEATURES}
    choice = protocol.best_choice(sets, study.clips, protocol.candidates(tuple(HEART_FEATURES), INDUCTIVE))
    head = protocol.fit_head(sets[choice.features], study.clips, choice)
    return HeartModel(MODEL, choice.features, head)


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate all rows and write one result each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="recordings of the PhysioNet Challenge 2016")
    parser.add_argument("--encoder", nargs=2, action="append", default=[], metavar=("LABEL", "MODEL"))
    parser.add_argument("--untrained", metavar="M2D", help="M2D folder whose network is heard with random weights")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="rows to evaluate, from 1; default: all")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the linear model of all databases as well")
    parser.add_argument("--out-dir", type=Path, default=Path("eval/results"))
    arguments = parser.parse_args(argv)

    recordings = read_physionet2016(arguments.data)
    labels = np.array([one.abnormal for one in recordings]), np.array([one.database for one in recordings])
    study = Study(Clips(*labels), HeartFeatures(recordings, dict(arguments.encoder), arguments.untrained))
    for number, (label, row) in enumerate(rows(study).items(), 1):
        if arguments.only and number not in arguments.only:
            continue
        about = {"name": "hearts", "label": label, "data": arguments.data.resolve().name, "seeds": SEEDS}
        figures = row()
        path = arguments.out_dir / f"hearts_{number:02d}.json"
        write_result(path, {"protocol": about, "model": study.features.describe(label), **figures})
        shown = "  ".join(f"{name} {value:.3f}" for name, value in figures["metrics"].items())
        print(f"{label}: {shown}  -> {path}", flush=True)
    if arguments.save:
        about = {"data": "PhysioNet/CinC Challenge 2016", "recordings": len(recordings), "licence": "ODC-By 1.0"}
        print(heart_model(study).save(arguments.save, {**about, "cite": CITE, "notice": NO_DEVICE}))


if __name__ == "__main__":
    run_script(main)
