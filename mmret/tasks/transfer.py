"""Transfer to labelled clips: what is trained on and tested on, the vectors of the clips, and a head learnt from them.

One implementation serves `mmret finetune` and the published linear evaluation (eval/linear.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmret.audio.decode import decode
from mmret.data.crops import crop_or_pad, random_crop
from mmret.data.labelled import PARTS, LabelledClip
from mmret.data.tables import first_of
from mmret.errors import DataLayoutError, MmretError
from mmret.heads import Examples, FittedHead, LinearConfig, Scoring, fit_head, held_out_rows, stratified_rows
from mmret.metrics.classification import accuracy, mean_average_precision

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]
Told = Callable[[int], None]
Result = TypeVar("Result")

TEST_SHARE = 0.2
_NAMED = 5
_CROPS = 1  # kinds of random draws, so that none repeats another's
_VALID = 2
_TEST = 3


class SceneEncoder(Protocol):
    """What transfer needs of an encoder; `mmret.Encoder` is one."""

    sample_rate: int

    def encode_scenes(self, recordings: Sequence[Any]) -> Vectors:
        """Files or waveforms -> vectors (n, dim)."""
        ...


@dataclass(frozen=True)
class Labelled:
    """Clips with their classes in sorted order and one row of targets (classes,) each, one-hot or multi-hot."""

    clips: Sequence[LabelledClip]
    classes: list[str]
    targets: NDArray[np.float32]
    multi_label: bool = False

    @classmethod
    def of(cls, clips: Sequence[LabelledClip], *, multi_label: bool = False) -> Labelled:
        """Number the labels of clips."""
        classes = sorted({label for clip in clips for label in clip.labels})
        number = {label: row for row, label in enumerate(classes)}
        targets = np.zeros((len(clips), len(classes)), np.float32)
        for row, clip in enumerate(clips):
            targets[row, [number[label] for label in clip.labels]] = 1
        return cls(clips, classes, targets, multi_label)

    def only(self, rows: Rows) -> Labelled:
        """Some of the clips, with the classes of all."""
        return Labelled([self.clips[row] for row in rows], self.classes, self.targets[rows], self.multi_label)

    @property
    def metric(self) -> Callable[[NDArray[np.float32], NDArray[np.float32]], float]:
        """Accuracy, or the mean average precision of a multi-label corpus."""
        return mean_average_precision if self.multi_label else accuracy

    @property
    def parts(self) -> NDArray[np.str_]:
        """Part of each clip."""
        return np.array([clip.part for clip in self.clips])


@dataclass(frozen=True)
class Split:
    """Rows to train on, to choose by and to test on; `valid` is None where it is to be drawn from `train`."""

    name: str
    train: Rows
    valid: Rows | None
    test: Rows


def published_splits(data: Labelled, test_folds: Collection[str] | None = None) -> list[Split]:
    """Every fold as the test in turn, or those of `test_folds`; for a corpus in parts its one split.

    Test folds that are asked for are the test together, as where some folds of a corpus are held out.
    """
    parts = data.parts
    if set(parts) <= set(PARTS):
        if test_folds:
            raise DataLayoutError("there is one split into train, valid and test: folds cannot be chosen")
        rows = {part: np.flatnonzero(parts == part) for part in PARTS}
        lacking = [part for part in ("train", "test") if not len(rows[part])]
        if lacking:
            raise DataLayoutError(f"no clip is of the part {lacking[0]}; there are {', '.join(sorted(set(parts)))}")
        return [Split("test", rows["train"], rows["valid"] if len(rows["valid"]) else None, rows["test"])]
    unknown = set(test_folds or ()) - set(parts)
    if unknown:
        raise DataLayoutError(f"no such fold: {', '.join(sorted(unknown))}; there are {_sorted(parts)}")
    if len(set(parts)) < 2:
        raise DataLayoutError(f"all recordings are in fold {parts[0]}; a second fold is needed to test on")
    groups = [sorted(test_folds)] if test_folds else [[fold] for fold in sorted(set(parts), key=_by_number)]
    return [_of_folds(parts, group) for group in groups]


def own_split(data: Labelled, *, seed: int, test_folds: Collection[str] | None = None) -> Split:
    """The split of a user's own table: by its parts or folds, else a fifth of each label, drawn by the seed.

    Of folds the last is the test unless others are asked for. Labels that are tested must be learnt, two at least.
    """
    if not any(data.parts != ""):
        if test_folds:
            raise DataLayoutError("the table has no column fold; leave the test fold out, or add the column")
        labels = data.targets.argmax(axis=1)
        test = stratified_rows(labels, TEST_SHARE, np.random.default_rng([seed, _TEST]))
        split = Split("random", np.setdiff1d(np.arange(len(labels)), test), None, test)
    else:
        split = published_splits(data, test_folds)[-1]
    _check_learnt(data, split)
    return split


def _of_folds(parts: NDArray[np.str_], group: Sequence[str]) -> Split:
    test = np.isin(parts, list(group))
    return Split("+".join(group), np.flatnonzero(~test), None, np.flatnonzero(test))


def _check_learnt(data: Labelled, split: Split) -> None:
    learnt = set(np.flatnonzero(data.targets[split.train].sum(axis=0)).tolist())
    if len(learnt) < 2:
        raise DataLayoutError("the training part has fewer than two labels; put recordings of more labels into it")
    lost = [label for number, label in enumerate(data.classes) if number not in learnt]
    if lost:
        raise DataLayoutError(f"no recording of {', '.join(lost[:_NAMED])} is in the training part; move some there")


def _by_number(fold: str) -> tuple[int, str]:
    return (int(fold), fold) if fold.isdecimal() else (0, fold)


def _sorted(parts: NDArray[np.str_]) -> str:
    return ", ".join(sorted(set(parts), key=_by_number))


def with_validation(data: Labelled, split: Split, share: float, *, seed: int) -> Split:
    """The split with its validation rows; where it has none they are drawn from its training rows."""
    if split.valid is not None:
        return split
    drawn = held_out_rows(data.targets[split.train], share, np.random.default_rng([seed, _VALID]))
    if not len(drawn):
        raise DataLayoutError(
            "one recording of each label is left to learn from, and none to tell when to stop: "
            "three recordings of a label are the least"
        )
    return Split(split.name, np.delete(split.train, drawn), split.train[drawn], split.test)


def whole_vectors(encoder: SceneEncoder, paths: Sequence[Path], *, tell: Told | None = None) -> Vectors:
    """One vector of each recording as a whole, (recordings, dim); recordings that fail are named together."""
    return np.concatenate(each_recording(paths, lambda row: encoder.encode_scenes([paths[row]]), tell))


@dataclass(frozen=True)
class ClipVectors:
    """Vectors (clips, dim) of clips of one length: from a random start to train on, from the beginning to test on."""

    train: Vectors
    test: Vectors


@dataclass(frozen=True)
class HeardClips:
    """Vectors of those recordings that could be used, their rows, and what was wrong with the others."""

    vectors: ClipVectors
    rows: Rows
    failed: list[str]


def clip_vectors(
    encoder: SceneEncoder, paths: Sequence[Path], unit_s: float, *, seed: int, tell: Told | None = None
) -> HeardClips:
    """Vectors of `unit_s` seconds of each recording that can be read; shorter ones get zeros at their end."""
    samples = round(unit_s * encoder.sample_rate)

    def both(row: int) -> Vectors:
        waveform = decode(paths[row], encoder.sample_rate)
        start = crop_or_pad(waveform, samples)
        crop = random_crop(waveform, samples, np.random.default_rng([seed, _CROPS, row]))
        same = np.array_equal(start, crop)
        vectors = encoder.encode_scenes([start] if same else [start, crop])
        return vectors[[0, -1]][None]

    done, failed = _tried(paths, both, tell)
    if not done:
        raise DataLayoutError(f"none of {len(paths)} recordings can be used: {first_of(list(failed.values()))}")
    vectors = np.concatenate(done)
    rows = np.setdiff1d(np.arange(len(paths)), list(failed))
    return HeardClips(ClipVectors(train=vectors[:, 1], test=vectors[:, 0]), rows, list(failed.values()))


def each_recording(paths: Sequence[Path], work: Callable[[int], Result], tell: Told | None = None) -> list[Result]:
    """`work(row)` for each recording; those that fail are named together at the end, in one DataLayoutError."""
    done, failed = _tried(paths, work, tell)
    if failed:
        raise DataLayoutError(
            f"{len(failed)} of {len(paths)} recordings cannot be used: {first_of(list(failed.values()))}. "
            "Repair them, or take them out of the table"
        )
    return done


def _tried(
    paths: Sequence[Path], work: Callable[[int], Result], tell: Told | None
) -> tuple[list[Result], dict[int, str]]:
    """What `work(row)` gave, in order, and by row what was wrong with the others."""
    done: list[Result] = []
    failed: dict[int, str] = {}
    for row, path in enumerate(paths):
        try:
            done.append(work(row))
        except (MmretError, OSError) as error:
            failed[row] = str(error) if str(path) in str(error) else f"{path}: {error}"
        if tell is not None:
            tell(row + 1)
    return done, failed


@dataclass(frozen=True)
class Tested:
    """A learnt head, what it says of the test rows, logits (test, classes), and the figure of that."""

    fitted: FittedHead
    split: Split
    logits: NDArray[np.float32]
    score: float


def learn_and_test(data: Labelled, vectors: ClipVectors, split: Split, config: LinearConfig, *, seed: int) -> Tested:
    """Fit a head on the training rows and test it once.

    Vectors are standardised by all training rows, those that validation is drawn from among them.
    """
    scaled_by = vectors.train[split.train]
    split = with_validation(data, split, config.valid_share, seed=seed)
    assert split.valid is not None
    train, valid = (Examples(vectors.train[rows], data.targets[rows]) for rows in (split.train, split.valid))
    scoring = Scoring(data.metric, data.multi_label)
    fitted = fit_head(train, valid, config, scoring=scoring, seed=seed, scaled_by=scaled_by)
    logits = fitted.head.logits(vectors.test[split.test])
    return Tested(fitted, split, logits, data.metric(logits, data.targets[split.test]))
