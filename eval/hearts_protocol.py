"""Protocols of the heart study: functions of feature arrays, labels and databases, none of which reads a recording.

Every choice (set of features, centring, strength) for a test database is made by `inner_scores` of the other databases,
each of them left out in turn; the test database is not among the rows that it is given. Two settings are kept apart:

- inductive: a test recording is judged alone; nothing is known of its database.
- batch: all test recordings of a database, without labels, are there together, and are centred and scaled together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmret._optional import require
from mmret.heads import LinearHead

Array = NDArray[np.float64]
Centring = Literal["pooled", "each_database", "batch"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
INDUCTIVE: tuple[Centring, ...] = ("pooled", "each_database")
BATCH: tuple[Centring, ...] = ("batch",)
FOLDS = 5
DRAWS = 1000


@dataclass(frozen=True)
class Clips:
    """Labels (clips,), True for abnormal, and the letter of each clip's database (clips,)."""

    abnormal: NDArray[np.bool_]
    database: NDArray[np.str_]

    def databases(self) -> list[str]:
        """Letters that occur, sorted."""
        return [str(letter) for letter in np.unique(self.database)]

    def rows(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Clips:
        """Some of the clips."""
        return Clips(self.abnormal[rows], self.database[rows])


@dataclass(frozen=True)
class Choice:
    """What is chosen without the test database: set of features, how it is centred, strength C of the regression."""

    features: str
    centring: Centring
    strength: float


FeatureSets = Mapping[str, Array]


def candidates(names: Sequence[str], centrings: Sequence[Centring]) -> list[Choice]:
    """All choices over some sets of features; earlier ones win ties, so the stronger regularisation comes first."""
    return [Choice(name, centring, c) for name in names for centring in centrings for c in STRENGTHS]


def cell_weights(clips: Clips) -> Array:
    """Weight of each clip (clips,), mean 1: every class of every database weighs the same."""
    cells = np.unique(np.stack([clips.database, clips.abnormal.astype(str)]), axis=1, return_inverse=True)[1].ravel()
    weights = 1 / np.bincount(cells)[cells]
    return np.asarray(weights / weights.mean())


def fit_head(train: Array, clips: Clips, choice: Choice) -> LinearHead:
    """A logit for abnormal, by regression on rows with mean 0 and deviation 1: of all rows, or of each database.

    Where each database is centred by itself, what is taken off new rows is the mean of the databases' statistics.
    """
    linear = require("sklearn.linear_model", extra="dev")
    parts = [np.ones(len(train), bool)] if choice.centring == "pooled" else _by_database(clips)
    centred, moments = np.empty_like(train), []
    for rows in parts:
        mean, deviation = _moments(train[rows])
        centred[rows] = (train[rows] - mean) / deviation
        moments.append((mean, deviation))
    model = linear.LogisticRegression(C=choice.strength, max_iter=500)
    model.fit(centred, clips.abnormal, sample_weight=cell_weights(clips))
    mean, deviation = np.mean(moments, axis=0)
    return LinearHead(mean, deviation, model.coef_, model.intercept_, multi_label=True)


def linear_scores(train: Array, test: Array, clips: Clips, choice: Choice) -> Array:
    """Log odds (test clips,) of abnormal; `clips` are those of train. "batch" centres and scales test by itself."""
    head = fit_head(train, clips, choice)
    if choice.centring == "batch":
        mean, deviation = _moments(test)
        head = replace(head, mean=mean, scale=deviation)
    return np.asarray(head.logits(test)[:, 0])


def boosted_scores(train: Array, test: Array, clips: Clips, seed: int) -> Array:
    """Log odds (test clips,) by gradient boosting with the settings of the bar: 200 rounds, rate 0.05, 15 leaves."""
    ensemble = require("sklearn.ensemble", extra="dev")
    model = ensemble.HistGradientBoostingClassifier(
        max_iter=200, learning_rate=0.05, max_leaf_nodes=15, class_weight="balanced", random_state=seed
    )
    return np.asarray(model.fit(train, clips.abnormal).decision_function(test))


def macc(scores: Array, abnormal: NDArray[np.bool_]) -> float:
    """Mean of sensitivity and specificity of log odds (clips,) with the threshold at 0, which knows no test label."""
    return float(((scores[abnormal] > 0).mean() + (scores[~abnormal] <= 0).mean()) / 2)


def held_out_scores(features: Array, clips: Clips, choice: Choice) -> Array:
    """Log odds (clips,), those of each database by training on the others."""
    scores = np.empty(len(features))
    for letter in clips.databases():
        test = clips.database == letter
        scores[test] = linear_scores(features[~test], features[test], clips.rows(~test), choice)
    return scores


def mean_macc(scores: Array, clips: Clips) -> float:
    """Mean over databases of MAcc: a small database counts as much as a large one."""
    return float(np.mean([macc(scores[rows], clips.abnormal[rows]) for rows in _by_database(clips)]))


InnerScores = Mapping[str, Mapping[Choice, float]]


def inner_scores(features: Array, clips: Clips, choices: Sequence[Choice]) -> InnerScores:
    """For each database left out: the mean MAcc of each choice when the others are left out in turn among themselves.

    The clips of the database that is left out take no part in its own entry.
    """
    table = {}
    for letter in clips.databases():
        kept = clips.database != letter
        others = clips.rows(kept)
        table[letter] = {one: mean_macc(held_out_scores(features[kept], others, one), others) for one in choices}
    return table


def best_choice(sets: FeatureSets, clips: Clips, choices: Sequence[Choice]) -> Choice:
    """The choice with the best mean MAcc when each database is left out in turn: for a model of all of them."""
    return max(choices, key=lambda one: mean_macc(held_out_scores(sets[one.features], clips, one), clips))


@dataclass(frozen=True)
class Outcome:
    """Log odds (clips,) of every clip, and what was chosen for each database that was left out."""

    scores: Array
    chosen: Mapping[str, Choice]


def leave_one_out(sets: FeatureSets, clips: Clips, inner: InnerScores) -> Outcome:
    """Each database by a regression on the others, with the choice that scored best among the others."""
    scores, chosen = np.empty(len(clips.abnormal)), {}
    for letter in clips.databases():
        choice = max(inner[letter], key=lambda one: inner[letter][one])
        test = clips.database == letter
        features = sets[choice.features]
        scores[test] = linear_scores(features[~test], features[test], clips.rows(~test), choice)
        chosen[letter] = choice
    return Outcome(scores, chosen)


def random_folds(clips: Clips, seed: int) -> NDArray[np.int64]:
    """Fold (clips,) of each clip, with equal shares of every class of every database."""
    folds = np.empty(len(clips.abnormal), np.int64)
    generator = np.random.default_rng(seed)
    offset = 0
    for rows in _by_database(clips):
        for label in (False, True):
            cell = np.flatnonzero(rows & (clips.abnormal == label))
            folds[generator.permutation(cell)] = (np.arange(len(cell)) + offset) % FOLDS
            offset += len(cell)
    return folds


def random_fold_scores(features: Array, clips: Clips, folds: NDArray[np.int64]) -> Array:
    """Log odds (clips,), each fold by a regression on the others, whose strength four inner folds choose."""
    scores = np.empty(len(features))
    choices = [Choice("", "pooled", strength) for strength in STRENGTHS]
    for fold in range(FOLDS):
        test = folds == fold
        train, others, inner = features[~test], clips.rows(~test), folds[~test]

        def inner_macc(choice: Choice, train: Array = train, others: Clips = others, inner: Array = inner) -> float:
            found = np.empty(len(train))
            for left_out in np.unique(inner):
                rows = inner == left_out
                found[rows] = linear_scores(train[~rows], train[rows], others.rows(~rows), choice)
            return macc(found, others.abnormal)

        scores[test] = linear_scores(train, features[test], others, max(choices, key=inner_macc))
    return scores


def boosted_by_part(features: Array, clips: Clips, parts: NDArray[np.generic], seed: int) -> Array:
    """Log odds (clips,) by gradient boosting, each part (a fold or a database) by training on the others."""
    scores = np.empty(len(features))
    for part in np.unique(parts):
        test = parts == part
        scores[test] = boosted_scores(features[~test], features[test], clips.rows(~test), seed)
    return scores


def mean_macc_interval(scores: Array, clips: Clips, generator: np.random.Generator) -> tuple[float, float]:
    """Middle 95 % of the mean MAcc when the clips of every class of every database are drawn anew."""
    drawn = np.zeros(DRAWS)
    for rows in _by_database(clips):
        for label in (False, True):
            right = (scores > 0)[rows & (clips.abnormal == label)] == label
            drawn += generator.binomial(len(right), right.mean(), DRAWS) / len(right)
    low, high = np.percentile(drawn / (2 * len(clips.databases())), (2.5, 97.5))
    return float(low), float(high)


def _by_database(clips: Clips) -> list[NDArray[np.bool_]]:
    return [clips.database == letter for letter in clips.databases()]


def _moments(rows: Array) -> tuple[Array, Array]:
    return rows.mean(axis=0), rows.std(axis=0) + 1e-8
