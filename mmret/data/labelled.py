"""What readers of labelled corpora give, and what they share: clips with labels and the part that each belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmret.data.tables import read_table
from mmret.errors import DataLayoutError

PARTS = ("train", "valid", "test")
SPLIT_TABLE = "split.csv"
_SHARES = (0.7, 0.1)  # of the speakers for training and for validation


@dataclass(frozen=True)
class LabelledClip:
    """One recording, its labels, and its part of the corpus: train, valid or test, or the name of a fold.

    A corpus of one label a clip gives one label; a multi-label corpus gives any number.
    """

    path: Path
    labels: tuple[str, ...]
    part: str


@dataclass(frozen=True)
class Corpus:
    """A corpus as transfer is measured on it: its reader, the length of a clip, and what is right of it.

    `unit_s` is the length that clips are cropped or filled to. `folds` is the number of published folds, each the
    test part in turn, or 0; with `multi_label` a clip may have any number of labels, and the figure is the mean average
    precision.
    """

    read: Callable[[Path], list[LabelledClip]]
    unit_s: float
    folds: int = 0
    multi_label: bool = False


def require_found(clips: Sequence[LabelledClip], root: Path, *, what: str, where: str) -> list[LabelledClip]:
    """The clips; DataLayoutError where there are none."""
    if not clips:
        raise DataLayoutError(f"{root} holds no {what}. To get it, {where}")
    return list(clips)


def folder_of(root: Path, names: Sequence[str], *, what: str, where: str) -> Path:
    """The first folder of these names below root."""
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise DataLayoutError(f"{root} holds no {what}: no folder {' or '.join(names)}. To get it, {where}")


def listed(root: Path, name: str, *, what: str, where: str) -> list[str]:
    """Lines of a list of the corpus that are not empty."""
    path = root / name
    if not path.is_file():
        raise DataLayoutError(f"{root} holds no {what}: {name} is missing. To get it, {where}")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def split_table(root: Path) -> list[tuple[str, str]] | None:
    """Files and their parts from the user's own split.csv; None where there is none."""
    if not (root / SPLIT_TABLE).is_file():
        return None
    rows = [(row["file"], row["part"]) for row in read_table(root / SPLIT_TABLE, required=("file", "part"))]
    wrong = [part for _, part in rows if part not in PARTS]
    if wrong:
        raise DataLayoutError(f"{root / SPLIT_TABLE}: {wrong[0]!r} is no part; use one of {', '.join(PARTS)}")
    return rows


def speaker_parts(speakers: Collection[str]) -> dict[str, str]:
    """Part of each speaker for corpora without a published split: 70, 10 and 20 %, in the order of their SHA-256.

    The same speakers get the same parts everywhere, whatever order they are found in.
    """
    order = sorted(set(speakers), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    train = int(_SHARES[0] * len(order))
    valid = train + int(_SHARES[1] * len(order) + 1e-9)
    return {name: PARTS[(row >= train) + (row >= valid)] for row, name in enumerate(order)}
