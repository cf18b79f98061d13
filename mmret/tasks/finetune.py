"""A classifier of a user's own labels: a head on an encoder that stays as it is, or all weights of the encoder."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmret.data.own_labels import identical_files, read_own_labels
from mmret.errors import DataLayoutError
from mmret.heads import LinearConfig
from mmret.metrics import wilson_interval
from mmret.metrics.classification import by_class
from mmret.tasks.classifier import Facts, refuse_unusable, save_head
from mmret.tasks.transfer import (
    ClipVectors,
    Labelled,
    Split,
    Told,
    learn_and_test,
    own_split,
    whole_vectors,
    with_validation,
)

if TYPE_CHECKING:
    from mmret.encoder import Encoder

# The published rate of linear evaluation, 3e-5, is for 3840 numbers; with a tenth of them, or with few recordings, it
# stops far from the end. Chosen on training parts alone.
OWN_LEARNING_RATE = 1e-3
VALID_SHARE = 0.1


@dataclass(frozen=True)
class LabelFigures:
    """One label on the held-out recordings: how many, the share that was found, and the share of right answers."""

    label: str
    recordings: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class FinetuneReport:
    """What was learnt from and how well the held-out recordings were told apart, with a 95 % score interval.

    `valid` recordings, of the training part, chose the epoch; the held-out ones, `test`, chose nothing.
    """

    train: int
    valid: int
    test: int
    split: str
    seed: int
    valid_accuracy: float
    epoch: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    labels: list[LabelFigures]


@dataclass(frozen=True)
class OwnData:
    """A user's recordings with labels, and which of them are held out."""

    data: Labelled
    split: Split
    seed: int

    @property
    def paths(self) -> list[Path]:
        """Recordings in the table's order."""
        return [clip.path for clip in self.data.clips]

    @property
    def held_out_copies(self) -> list[tuple[Path, Path]]:
        """Held-out recordings that are learnt from under another name, byte by byte: (held out, learnt from)."""
        held_out = {self.paths[row] for row in self.split.test}
        pairs = []
        for group in identical_files(self.paths):
            learnt = [path for path in group if path not in held_out]
            pairs += [(path, learnt[0]) for path in group if learnt and path in held_out]
        return pairs


def read_own_data(
    table: str | os.PathLike[str],
    *,
    audio: str | os.PathLike[str] | None = None,
    test_folds: Collection[str] | None = None,
    seed: int = 42,
) -> OwnData:
    """The table with its split; DataLayoutError tells all that is wrong with it."""
    data = Labelled.of(read_own_labels(table, audio=audio))
    try:
        split = own_split(data, seed=seed, test_folds=test_folds)
        with_validation(data, split, VALID_SHARE, seed=seed)  # complains before anything is encoded
    except DataLayoutError as error:
        raise DataLayoutError(f"{table} cannot be learnt from: {error}") from None
    return OwnData(data, split, seed)


def finetune_head(
    own: OwnData, encoder: Encoder, model: str, out: Path, *, config: LinearConfig, tell: Told | None = None
) -> FinetuneReport:
    """Learn a head on the encoder's vectors and write OUT, a folder for `mmret classify --model`.

    `model` is the name or path that opens the encoder again.
    """
    refuse_unusable(out)
    encoder.open_audio()  # a damaged model is told once, and is no fault of any recording
    vectors = whole_vectors(encoder, own.paths, tell=tell)
    tested = learn_and_test(own.data, ClipVectors(vectors, vectors), own.split, config, seed=own.seed)
    report = report_on(own, tested.split, tested.logits, valid_accuracy=tested.fitted.score, epoch=tested.fitted.epoch)
    opens = {"model": _lasting(model), "name": encoder.name, "fingerprint": encoder.fingerprint}
    opens["runtime"] = encoder.runtime if encoder.has_scenes else "auto"
    save_head(out, tested.fitted.head, Facts("head", own.data.classes, opens, 0.0, asdict(report)))
    return report


def report_on(
    own: OwnData, split: Split, logits: NDArray[np.float32], *, valid_accuracy: float, epoch: int
) -> FinetuneReport:
    """Figures of logits (test, labels) of the held-out recordings."""
    targets = own.data.targets[split.test]
    right = logits.argmax(axis=1) == targets.argmax(axis=1)
    interval = wilson_interval(int(right.sum()), right.size)
    rows = zip(own.data.classes, by_class(logits, targets), strict=True)
    assert split.valid is not None
    return FinetuneReport(
        train=len(split.train),
        valid=len(split.valid),
        test=len(split.test),
        split=split.name,
        seed=own.seed,
        valid_accuracy=valid_accuracy,
        epoch=epoch,
        accuracy=float(right.mean()),
        accuracy_interval=(interval.low, interval.high),
        labels=[LabelFigures(label, row.clips, row.recall, row.precision) for label, row in rows],
    )


def _lasting(model: str) -> str:
    """A name as it is, a path made absolute, so that it opens from anywhere."""
    return str(Path(model).absolute()) if Path(model).is_dir() else model
