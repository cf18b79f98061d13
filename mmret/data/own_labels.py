"""A user's own labelled recordings: a CSV file with the columns path and label, and perhaps split or fold."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmret.data.labelled import PARTS, LabelledClip
from mmret.data.tables import first_of, read_table
from mmret.errors import DataLayoutError

_SPLIT_NAMES = {name: name for name in PARTS} | {"training": "train", "val": "valid", "validation": "valid"}
_COLUMNS = ("path", "label", "split", "fold")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
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
    if not root.is_dir():
        raise DataLayoutError(f"{audio}: no such folder; name the folder of the recordings with --audio")
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
        _check_header(table)
        return read_table(table, required=("path", "label"))
    except UnicodeDecodeError:
        raise DataLayoutError(f"{table} is not text in UTF-8; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise DataLayoutError(f"{table} is not a CSV file ({error})") from None


def _check_header(table: Path) -> None:
    """Refuse a first line that means our columns and spells them otherwise, with what to mend."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), [])
    for sign, what in _SEPARATORS.items():
        if len(names) == 1 and sign in names[0]:
            raise DataLayoutError(f"{table}: its columns are separated by {what}; save it as CSV with commas")
    for name in names:
        meant = name.strip().lower()
        if meant in _COLUMNS and meant not in names:
            raise DataLayoutError(
                f"{table}: name the column {name!r} in its first line {meant}, in small letters and without spaces"
            )


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
    if not clips:
        raise DataLayoutError(f"{table} has no rows below its first line; write one for each recording")
    counts = Counter(clip.labels[0] for clip in clips)
    if len(counts) < 2:
        raise DataLayoutError(
            f"{table} has only {next(iter(counts))!r} as label; learning to tell sounds apart takes two labels at least"
        )
    single = sorted(label for label, count in counts.items() if count == 1)
    if single:
        raise DataLayoutError(
            f"{table} has one recording only of {', '.join(single[:_NAMED])}{' and more' * (len(single) > _NAMED)}; "
            "three of a label are the least, to learn from, to tell when to stop and to be tested on: add some, or "
            "take the label out"
        )


def identical_files(paths: Sequence[Path]) -> list[list[Path]]:
    """Groups of files that hold the same bytes, in the order of the paths; only files of equal size are read.

    Files that cannot be read are in no group.
    """
    return [group for same in _groups(paths, _size) if len(same) > 1 for group in _groups(same, _digest) if group[1:]]


def _groups(paths: Sequence[Path], fact_of: Callable[[Path], object]) -> list[list[Path]]:
    groups: dict[object, list[Path]] = {}
    for path in paths:
        try:
            groups.setdefault(fact_of(path), []).append(path)
        except OSError:  # told when it is to be heard
            continue
    return list(groups.values())


def _size(path: Path) -> int:
    return path.stat().st_size


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
