"""An index that any older version made opens again, and nothing of it is lost on the way."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mmret.errors import IndexCorrupt, IndexFormatError, IndexLocked
from mmret.index import IndexStore, migrations
from mmret.index.check import check
from mmret.index.lock import WriterLock
from mmret.index.migrations import migrate
from mmret.index.schema import FORMAT
from tests.index.made_up import add, contents, unit_rows
from tests.index.old_formats import FORMATS, write_old_index

OLD = sorted(int(path.stem) for path in FORMATS.glob("*.sql"))


def test_every_older_format_has_a_fixture_and_a_step() -> None:
    assert OLD == list(range(1, FORMAT)) == sorted(migrations.STEPS)


@pytest.mark.parametrize("version", OLD)
def test_an_older_format_is_refused_by_readers_and_opens_after_migration(tmp_path: Path, version: int) -> None:
    folder = write_old_index(tmp_path / "index", version)
    with pytest.raises(IndexFormatError, match=rf"older index format {version}; .*mmret migrate {folder}"):
        IndexStore.open(folder)
    assert migrate(folder) == version
    with closing(IndexStore.open(folder)) as store:
        held = contents(store)
        assert {path: len(windows) for path, windows in held.items()} == {
            b"/sounds/a": 3,
            b"/sounds/c\xff": 3,
            b"/sounds/d": 3,
        }
        assert held[b"/sounds/a"] == held[b"/sounds/d"]
        assert b"".join(vector for _, _, vector in held[b"/sounds/a"]) == unit_rows(3, seed=0).tobytes()
        assert check(store).problems == []
        add(store, "f", unit_rows(2))
        assert {**held, b"/sounds/f": contents(store)[b"/sounds/f"]} == contents(store)
    assert migrate(folder) == FORMAT


@pytest.mark.parametrize("version", OLD)
def test_the_old_rows_are_kept_beside_the_new_ones(tmp_path: Path, version: int) -> None:
    folder = write_old_index(tmp_path / "index", version)
    migrate(folder)
    with closing(sqlite3.connect(folder / f"index.sqlite.format{version}")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
        assert connection.execute("SELECT COUNT(*) FROM window").fetchone() == (12,)


def test_a_step_that_fails_leaves_the_old_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM block")
        raise MemoryError

    folder = write_old_index(tmp_path / "index", 1)
    monkeypatch.setattr(migrations, "STEPS", {1: fail})
    with pytest.raises(MemoryError):
        migrate(folder)
    monkeypatch.undo()
    assert migrate(folder) == 1
    with closing(IndexStore.open(folder)) as store:
        assert check(store).problems == []


def test_what_is_no_index_or_is_being_written_or_holds_foreign_tables_is_not_migrated(tmp_path: Path) -> None:
    with pytest.raises(IndexFormatError, match="is no index"):
        migrate(tmp_path)
    folder = write_old_index(tmp_path / "index", 1)
    with WriterLock(folder), pytest.raises(IndexLocked, match=f"process {os.getpid()}"):
        migrate(folder)
    with closing(sqlite3.connect(folder / "index.sqlite")) as connection:
        connection.execute("CREATE VIEW v AS SELECT 1")
    with pytest.raises(IndexCorrupt, match="of an mmret index of format 1"):
        migrate(folder)
