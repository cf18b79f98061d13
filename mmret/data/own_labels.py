"""A user's own labelled recordings: a CSV file with the columns path and label, and perhaps split or fold."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmret.data.labelled import PARTS, LabelledClip
from mmret.data.tables import first_of, read_table
from mmret.errors import DataLayoutError

_SPLIT_NAMES = {name: name for name in PARTS} | {"training": "train", "val": "valid", "validation": "valid"}
_NAMED = 5  # labels that a message lists


def read_own_labels(
    table: str | os.PathLike[str], *, audio: str | os.PathLike[str] | None = None
) -> list[LabelledClip]:
    """The recordings of a table in its order; `part` is the split, the fold, or empty where it has neither column.

    Paths are below `audio`, by default the table's own folder. Everything that is wrong is told at once, by line:
    files that are missing, named twice or outside that folder, rows without path or label, labels with one recording.
    """
    table = Path(table)
    root = Path(os.path.normpath((Path(audio) if audio is not None else table.parent).absolute()))
    rows = _rows(table)
    faults: list[str] = []
    clips = [_clip(row, number, root, faults) for number, row in enumerate(rows, start=2)]
    faults += _repeated(clips)
    if faults:
        raise DataLayoutError(f"{table} cannot be learnt from: {first_of(faults)}")
    _check_labels(table, clips)
    return clips


def _rows(table: Path) -> Sequence[Mapping[str, str]]:
    if not table.is_file():
        raise DataLayoutError(f"{table}: no such file; write a CSV file with the columns path and label")
    try:
        return read_table(table, required=("path", "label"))
    except UnicodeDecodeError:
        raise DataLayoutError(f"{table} is not text in UTF-8; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise DataLayoutError(f"{table} is not a CSV file ({error})") from None


def _clip(row: Mapping[str, str], number: int, root: Path, faults: list[str]) -> LabelledClip:
    name, label = row["path"].strip(), row["label"].strip()
    path = Path(os.path.normpath(root / name))
    part = _part(row, number, faults)
    if not name or not label:
        faults.append(f"line {number}: {'label' if name else 'path'} is empty")
    elif not path.is_relative_to(root):
        faults.append(f"line {number}: {name} lies outside {root}; name the folder of all recordings with --audio")
    elif not path.is_file():
        faults.append(f"line {number}: {path} is no file")
    return LabelledClip(path, (label,), part)


def _part(row: Mapping[str, str], number: int, faults: list[str]) -> str:
    if "split" in row:
        part = _SPLIT_NAMES.get(row["split"].strip().lower(), "")
        if not part:
            faults.append(f"line {number}: split {row['split']!r} is none of {', '.join(PARTS)}")
        return part
    if "fold" in row and not row["fold"].strip():
        faults.append(f"line {number}: fold is empty")
    return row.get("fold", "").strip()


def _repeated(clips: Sequence[LabelledClip]) -> list[str]:
    counts = Counter(clip.path for clip in clips)
    return [f"{path} stands in {count} lines; leave one" for path, count in counts.items() if count > 1]


def _check_labels(table: Path, clips: Sequence[LabelledClip]) -> None:
    counts = Counter(clip.labels[0] for clip in clips)
    if len(counts) < 2:
        only = f"only {next(iter(counts))!r}" if counts else "none"
        raise DataLayoutError(f"{table} has {only} as label; learning to tell sounds apart takes two labels at least")
    single = sorted(label for label, count in counts.items() if count == 1)
    if single:
        raise DataLayoutError(
            f"{table} has one recording only of {', '.join(single[:_NAMED])}{' and more' * (len(single) > _NAMED)}; "
            "each label needs one to learn from and one to be tested on: add some, or take the label out"
        )
