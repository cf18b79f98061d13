"""What keeps an index in good order when it cannot be opened as usual: check, migrate."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mmret.errors import IndexCorrupt
from mmret.index.check import CheckReport, check
from mmret.index.migrations import migrate
from mmret.index.schema import FORMAT
from mmret.index.store import IndexStore
from mmret.tasks.recordings import absolute

__all__ = ["CheckReport", "MigrationReport", "check_index", "migrate_index"]


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
