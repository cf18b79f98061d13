"""The seal tells rows that were changed by no writer from those that were, and stands in nobody's way."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mmret.errors import IndexCorrupt
from mmret.index import IndexStore, seal
from mmret.index.check import check
from tests.index.made_up import add, contents, new_store, unit_rows


def change_rows(folder: Path, statement: str) -> None:
    """Do to the rows what no mmret does."""
    with closing(sqlite3.connect(folder / "index.sqlite", isolation_level=None)) as connection:
        connection.execute(statement)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of two files."""
    with closing(new_store(tmp_path / "index")) as store:
        add(store, "a", unit_rows(3))
        add(store, "b", unit_rows(3, seed=1))
    return tmp_path / "index"


def problems(folder: Path) -> list[str]:
    """What `check` finds."""
    with closing(IndexStore.open_unproved(folder)) as store:
        return check(store).problems


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE window SET start_s = 7 WHERE id = 2",
        "UPDATE window SET deleted_gen = 1 WHERE id = 2",
        "UPDATE window SET row = 0 WHERE id = 2",
        "UPDATE file SET path = x'41' WHERE id = 1",
        "DELETE FROM window WHERE id = 5",
    ],
)
@pytest.mark.parametrize("sealed", [True, False])
def test_changed_rows_are_refused_and_named_by_check(folder: Path, statement: str, sealed: bool) -> None:
    change_rows(folder, statement)
    if not sealed:
        (folder / seal.SEAL).unlink()
    with pytest.raises(IndexCorrupt, match=r"damaged at offset \d+" if sealed else r"about file \d is not"):
        IndexStore.open(folder)
    found = problems(folder)
    assert any("rows: what is kept about file" in problem for problem in found)


def test_rows_that_went_back_behind_their_seal_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "index.sqlite", tmp_path / "before")
    with closing(IndexStore.open(folder)) as store:
        add(store, "c", unit_rows(1))
    shutil.copy(tmp_path / "before", folder / "index.sqlite")
    with pytest.raises(IndexCorrupt, match="is of generation 2, but 3 was reached"):
        IndexStore.open(folder)


def test_a_writer_builds_nothing_on_damaged_rows(folder: Path) -> None:
    with closing(IndexStore.open(folder)) as store:
        change_rows(folder, "UPDATE window SET start_s = 7 WHERE id = 2")
        with pytest.raises(IndexCorrupt, match="damaged at offset"):
            add(store, "c", unit_rows(1))


def test_a_damaged_seal_says_how_to_go_on_without_it(folder: Path) -> None:
    with closing(IndexStore.open(folder)) as store:
        whole = contents(store)
    path = folder / seal.SEAL
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    with pytest.raises(IndexCorrupt, match=r"index\.seal is damaged\. Delete index\.seal"):
        IndexStore.open(folder)
    path.unlink()
    with closing(IndexStore.open(folder)) as store:
        assert contents(store) == whole
        add(store, "c", unit_rows(1))
    assert path.read_bytes() != content
    assert problems(folder) == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"generation": "x", "meta": {}, "pages": ""}', b"\xff"])
def test_a_made_up_seal_is_refused(folder: Path, body: bytes) -> None:
    (folder / seal.SEAL).write_bytes(body + b"\n" + seal._crc_line(body))
    with pytest.raises(IndexCorrupt, match=r"index\.seal"):
        IndexStore.open(folder)


def test_reading_while_a_writer_is_ahead_of_the_seal_works(folder: Path) -> None:
    with closing(IndexStore.open(folder)) as store, store.writer() as writer:
        writer.commit([])
        with closing(IndexStore.open(folder)) as reader:
            assert len(contents(reader)) == 2


def test_a_reader_that_keeps_the_log_from_shrinking_does_not_keep_rows_from_being_sealed(folder: Path) -> None:
    with closing(IndexStore.open(folder)) as store, closing(IndexStore.open(folder)) as reader:
        with reader.rows():
            add(store, "c", unit_rows(1))
        sealed = seal.read_seal(folder)
        assert sealed is not None
        assert sealed.generation == 3
        with closing(IndexStore.open(folder)) as again:
            assert len(contents(again)) == 3


def test_rows_that_cannot_be_sealed_are_committed_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with closing(IndexStore.open(folder)) as store:
        monkeypatch.setattr(seal, "replace_durably", fail)
        add(store, "c", unit_rows(1))
        monkeypatch.undo()
        with closing(IndexStore.open(folder)) as again:
            assert len(contents(again)) == 3
        add(store, "d", unit_rows(1))
    sealed = seal.read_seal(folder)
    assert sealed is not None
    assert sealed.generation == 4


def test_after_a_kill_a_search_proves_what_it_names_and_a_writer_proves_all(folder: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    with closing(IndexStore.open(folder)) as store, store.writer() as writer:
        for _ in range(2):
            writer.commit([])
        writer.connection.execute("UPDATE window SET start_s = 7 WHERE id = 2")  # as if that page had been damaged
        shutil.copytree(folder, killed, ignore=shutil.ignore_patterns("*-shm"))
    with closing(IndexStore.open(killed)) as store:
        with store.snapshot() as snapshot:
            assert snapshot.paths_of([2]) == {2: b"/sounds/b"}
            with pytest.raises(IndexCorrupt, match="about file 1 is not"):
                snapshot.paths_of([1])
        with pytest.raises(IndexCorrupt, match="about file 1 is not"), store.writer():
            pass
    assert any("file 1 (/sounds/a)" in problem for problem in problems(killed))


def test_after_a_kill_a_fact_that_may_change_is_no_damage_and_others_are(folder: Path, tmp_path: Path) -> None:
    with closing(IndexStore.open(folder)) as store, store.writer() as writer:
        for key in ("model", "encoder"):
            writer.put_fact(key, "other")
            shutil.copytree(folder, tmp_path / key, ignore=shutil.ignore_patterns("*-shm"))
    with closing(IndexStore.open(tmp_path / "model")) as store, store.writer():
        assert store.meta["model"] == "other"
    assert problems(tmp_path / "model") == []
    with (
        closing(IndexStore.open(tmp_path / "encoder")) as store,
        pytest.raises(IndexCorrupt, match="meta is damaged"),
        store.writer(),
    ):
        pass
