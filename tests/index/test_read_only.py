"""An index in a folder that this user may not write to is read as any other, and says why it cannot be changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mmret.errors import IndexFormatError, IndexLocked, IndexReadOnly
from mmret.index import IndexStore, schema
from mmret.index.check import check
from mmret.index.migrations import migrate
from mmret.index.salvage import salvage
from tests.index.made_up import add, contents, new_store, remove, unit_rows

NOBODY = 65534


@contextmanager
def ordinary_user() -> Iterator[None]:
    """For root, whom no permission stops, the rights of nobody."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(NOBODY)
    except PermissionError:
        pytest.skip("this root may not become another user, and no permission stops it")
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter and write to, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)
        for folder, _, _ in os.walk(name):
            Path(folder).chmod(0o755)


@pytest.fixture
def folder(place: Path) -> Path:
    """An index as a copy or an archive holds it: without SQLite's side files, and not to be written to."""
    with closing(new_store(place / "index")) as store:
        add(store, "a.wav", unit_rows(3))
        add(store, "b.wav", unit_rows(2, seed=1))
    for side_file in place.glob("index/index.sqlite-*"):
        side_file.unlink()
    close_to_writers(place / "index")
    return place / "index"


def close_to_writers(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        path.chmod(path.stat().st_mode & 0o555)


def test_it_is_read_and_checked_and_salvaged_from(folder: Path, place: Path) -> None:
    with ordinary_user():
        with closing(IndexStore.open(folder)) as store:
            there = contents(store)
            report = check(store)
        saved = salvage(folder, place / "saved")
    assert [len(windows) for windows in there.values()] == [3, 2]
    assert (report.windows, report.problems) == (5, [])
    assert (saved.windows, saved.lost) == (5, [])
    assert not list(folder.glob("index.sqlite-*"))


def test_an_empty_log_that_was_left_there_hinders_nobody(folder: Path) -> None:
    with_log = folder / "index.sqlite-wal"
    folder.chmod(0o755)
    with_log.touch(mode=0o444)
    folder.chmod(0o555)
    with ordinary_user(), closing(IndexStore.open(folder)) as store:
        assert len(contents(store)) == 2


def test_changes_that_are_in_the_log_alone_are_not_passed_over(place: Path) -> None:
    with closing(new_store(place / "index")) as store, closing(sqlite3.connect(place / "index/index.sqlite")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM meta").fetchall()  # the log cannot shrink while this lasts
        add(store, "a.wav", unit_rows(3))
        shutil.copytree(place / "index", place / "copy", ignore=lambda *_: ["index.sqlite-shm"])
    close_to_writers(place / "copy")
    with ordinary_user(), pytest.raises(IndexReadOnly, match=r"still in index\.sqlite-wal.*Copy the whole folder"):
        IndexStore.open(place / "copy")


@pytest.mark.parametrize("change", [migrate, lambda folder: remove(IndexStore.open(folder), ["a.wav"])])
@pytest.mark.parametrize("all_of_it", [True, False])
def test_a_writer_is_told_that_it_may_not_write(
    folder: Path, change: Callable[[Path], object], all_of_it: bool
) -> None:
    if not all_of_it:  # its files may be written to, and none made
        for path in folder.iterdir():
            path.chmod(path.stat().st_mode | 0o222)
    with ordinary_user(), pytest.raises(IndexReadOnly, match=r"cannot be written to by this user.*use the copy"):
        change(folder)


def test_no_index_is_made_where_none_can_be(place: Path) -> None:
    place.chmod(0o555)
    with ordinary_user(), pytest.raises(IndexFormatError, match=r"no index can be made at .*Choose another place"):
        new_store(place)


def test_what_is_read_without_locks_is_not_trusted_once_the_rows_have_changed(folder: Path, place: Path) -> None:
    with ordinary_user():
        store = IndexStore.open(folder)
    with closing(store):
        assert len(contents(store)) == 2
        os.utime(folder / schema.DATABASE, ns=(0, 0))
        with pytest.raises(IndexLocked, match="open it again"):
            contents(store)


def test_where_files_can_be_made_nothing_is_read_without_locks(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_store(place / "index").close()
    modes = []

    def refused(folder: Path, mode: str) -> sqlite3.Connection:
        modes.append(mode)
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorname = "SQLITE_CANTOPEN"
        raise error

    monkeypatch.setattr(schema, "connect", refused)
    with pytest.raises(sqlite3.OperationalError):
        schema.connect_to_read(place / "index")
    assert modes == ["ro"]
