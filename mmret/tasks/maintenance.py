"""What is done to an index as a whole, opened or not: check, migrate, salvage, discard."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mmret.errors import IndexCorrupt
from mmret.index.check import CheckReport, check
from mmret.index.discard import discard_if_empty
from mmret.index.migrations import migrate
from mmret.index.salvage import LostFile, SalvageReport, salvage
from mmret.index.schema import FORMAT
from mmret.index.store import IndexStore
from mmret.tasks.recordings import absolute

__all__ = [
    "CheckReport",
    "LostFile",
    "MigrationReport",
    "SalvageReport",
    "check_index",
    "discard_if_empty",
    "migrate_index",
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
