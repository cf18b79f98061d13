"""What is done to an index as a whole, opened or not: check, migrate, salvage, discard, look for moved folders."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from mmret.errors import IndexCorrupt, MmretError
from mmret.index.check import CheckReport, check
from mmret.index.discard import discard_if_empty
from mmret.index.migrations import migrate
from mmret.index.salvage import LostFile, SalvageReport, salvage
from mmret.index.schema import FORMAT
from mmret.index.store import IndexStore
from mmret.tasks.recordings import absolute, exists

__all__ = [
    "CheckReport",
    "LostFile",
    "MigrationReport",
    "SalvageReport",
    "check_index",
    "discard_if_empty",
    "migrate_index",
    "refuse_moved",
    "salvage_index",
]


@dataclass(frozen=True)
class MigrationReport:
    """Format of an index before and after."""

    had: int
    has: int


def check_index(folder: str | Path) -> CheckReport:
    """Read every row and vector of an index and list what is damaged, however badly it is."""
    folder = absolute(folder)
    try:
        store = IndexStore.open_unproved(folder)
    except IndexCorrupt as error:
        return CheckReport(0, 0, [str(error)], [])
    with closing(store):
        return check(store)


def migrate_index(folder: str | Path) -> MigrationReport:
    """Bring an index of an older format to the present one; the old rows are kept beside it."""
    return MigrationReport(migrate(absolute(folder)), FORMAT)


def salvage_index(folder: str | Path, out: str | Path) -> SalvageReport:
    """Copy what is proved to be whole in a damaged index into a new one at `out`, and tell what is lost."""
    return salvage(absolute(folder), absolute(out))


def refuse_moved(folder: str | Path, paths: Iterable[str | Path]) -> None:
    """Raise MmretError for a path that is not there while the index knows recordings at or below it."""
    folder = absolute(folder)
    for path in map(absolute, paths):
        count = _known_below(folder, path) if _is_missing(path) else 0
        if count:
            remove = shlex.join(["mmret", "remove", str(folder), str(path)])
            raise MmretError(
                f"{path}: no such file or folder, but {folder} knows recordings there ({count}). If they were moved, "
                f"index their new place first, where they are known by their bytes; then, or if they are gone: {remove}"
            )


def _is_missing(path: Path) -> bool:
    with suppress(OSError):  # a path that may not be looked at is listed as that
        return not exists(path)
    return False


def _known_below(folder: Path, path: Path) -> int:
    """Count the recordings of an index at or below a path; none where the index cannot be read as it is."""
    if not IndexStore.exists(folder):
        return 0
    own, inside = os.fsencode(path), os.path.join(os.fsencode(path), b"")  # noqa: PTH118 - paths are stored as bytes
    try:
        with closing(IndexStore.open(folder)) as store, store.rows() as snapshot:
            known = (file.path for file in snapshot.files() if file.status != "gone")
            return sum(one == own or one.startswith(inside) for one in known)
    except MmretError:  # of an older format, or damaged: told by what opens it for its own sake
        return 0
