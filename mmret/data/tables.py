"""What the readers share: a table with named columns, the folder of its recordings, and one message for all gaps."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from mmret.errors import DataLayoutError

_NAMED = 3  # missing files that a message names


def read_table(path: Path, *, required: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file as text, so that ids keep their leading zeros; complains about columns that are missing."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in required if name not in (reader.fieldnames or ())]
        if missing:
            has = ", ".join(reader.fieldnames or ()) or "none"
            raise DataLayoutError(f"{path} lacks the columns {', '.join(missing)} (it has {has})")
        return [{name: text or "" for name, text in row.items() if name is not None} for row in reader]


def audio_folder(root: Path) -> Path:
    """root/audio where it exists, else root itself: archives get unpacked flat as well."""
    folder = root / "audio"
    return folder if folder.is_dir() else root


def first_of(faults: Sequence[str], named: int = 5) -> str:
    """Faults for one line of a message: the first few, and how many more there are.

    >>> first_of(["a is empty", "b is empty", "c is empty"], 2)
    'a is empty; b is empty; and 1 more'
    """
    rest = [f"and {len(faults) - named} more"] if len(faults) > named else []
    return "; ".join([*faults[:named], *rest])


def require_files(paths: Sequence[Path], *, where: str) -> None:
    """Complain once about everything that is missing, with what to do about it."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        some = ", ".join(path.name for path in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        folder = missing[0].parent
        raise DataLayoutError(
            f"{len(missing)} of {len(paths)} recordings are not in {folder}: {some}{more}. Do this: {where}"
        )
