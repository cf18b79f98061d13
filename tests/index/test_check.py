"""`check` lists everything that is wrong, however much it is, and says so in words."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mmret.errors import IndexCorrupt
from mmret.index import IndexStore
from mmret.index.check import CheckReport, check
from mmret.index.migrations import migrate
from mmret.tasks.maintenance import check_index
from tests.index.made_up import DIM, add, copy, new_store, remove, unit_rows
from tests.index.old_formats import write_old_index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of two files in two vector files."""
    with closing(new_store(tmp_path / "index")) as store:
        store.segment_bytes = 3 * DIM * 4
        add(store, "a", unit_rows(3))
        add(store, "b", unit_rows(2, seed=1))
    return tmp_path / "index"


def report(folder: Path) -> CheckReport:
    """What check finds."""
    with closing(IndexStore.open_unproved(folder)) as store:
        return check(store)


def sql(folder: Path, statement: str) -> None:
    """Change the rows."""
    with closing(sqlite3.connect(folder / "index.sqlite", isolation_level=None)) as connection:
        connection.execute(statement)


def without_a_file(folder: Path) -> None:
    (folder / "vectors" / "000001.f32").unlink()


def cut(folder: Path) -> None:
    path = folder / "vectors" / "000002.f32"
    path.write_bytes(path.read_bytes()[:-1])


def long_vectors_with_their_checksum(folder: Path) -> None:
    vectors = (2 * unit_rows(3)).astype(np.float32).tobytes()
    (folder / "vectors" / "000001.f32").write_bytes(vectors)
    sql(folder, f"UPDATE block SET crc32 = {zlib.crc32(vectors)} WHERE segment = 1")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (without_a_file, "000001.f32 is missing; 3 vectors were committed to it"),
        (cut, "000002.f32 holds 63 bytes, 64 were committed"),
        (long_vectors_with_their_checksum, "vectors from row 0 on are not of unit length"),
        (lambda folder: sql(folder, "UPDATE block SET first_row = 1 WHERE segment = 2"), "do not cover its 2 vectors"),
        (lambda folder: sql(folder, "UPDATE block SET rows = 1 WHERE segment = 2"), "do not cover its 2 vectors"),
        (
            lambda folder: sql(folder, "UPDATE window SET row = 9 WHERE id = 1"),
            "1 windows name vectors that were never",
        ),
        (lambda folder: sql(folder, "DELETE FROM file WHERE id = 2"), "names a file that does not exist"),
        (lambda folder: sql(folder, "UPDATE segment SET dtype = 'f16' WHERE id = 1"), "contradicts itself"),
        (lambda folder: sql(folder, "UPDATE segment SET dtype = 'f99' WHERE id = 1"), "is damaged: dtype is 'f99'"),
    ],
)
def test_each_fault_is_named(folder: Path, harm: Callable[[Path], None], words: str) -> None:
    assert report(folder).problems == []
    harm(folder)
    assert any(words in problem for problem in report(folder).problems), report(folder).problems


def damage(folder: Path, segment: int, row: int) -> None:
    path = folder / "vectors" / f"{segment:06d}.f32"
    content = bytearray(path.read_bytes())
    content[row * DIM * 4] ^= 0x55
    path.write_bytes(content)


def test_damaged_vectors_are_named_by_recording(folder: Path) -> None:
    with closing(IndexStore.open(folder)) as store:
        copy(store, "c", "b")
    damage(folder, 2, 0)
    (problem,) = report(folder).problems
    place = folder / "vectors" / "000002.f32"
    assert problem == (
        f"{place}: vectors of rows 0 to 1 (offset 0) are damaged. They belong to /sounds/b, /sounds/c. "
        f"Save what is whole with: mmret salvage {folder} OUT"
    )


def test_no_more_than_a_few_recordings_are_named(folder: Path) -> None:
    with closing(IndexStore.open(folder)) as store:
        for number in range(7):
            copy(store, f"copy{number}", "a")
    without_a_file(folder)
    (problem,) = report(folder).problems
    assert (
        "They belong to /sounds/a, /sounds/copy0, /sounds/copy1, /sounds/copy2, /sounds/copy3 and 3 more. S" in problem
    )


def test_of_a_cut_file_only_recordings_beyond_the_cut_are_named(folder: Path) -> None:
    with closing(IndexStore.open(folder)) as store:
        add(store, "c", unit_rows(1, seed=2))
    cut(folder)
    (problem,) = report(folder).problems
    assert "They belong to /sounds/c. " in problem


def test_damaged_vectors_of_removed_recordings_are_told_as_such(folder: Path) -> None:
    with closing(IndexStore.open(folder)) as store:
        remove(store, ["a"])
    damage(folder, 1, 0)
    (problem,) = report(folder).problems
    assert "They belong to no recording any more. " in problem


def test_a_recording_whose_own_rows_are_damaged_is_named_by_number(folder: Path) -> None:
    sql(folder, "UPDATE file SET path = x'78' WHERE id = 1")
    damage(folder, 1, 0)
    assert any("They belong to file 1. " in problem for problem in report(folder).problems)


def test_rows_that_cannot_be_gone_through_are_one_problem_more(folder: Path) -> None:
    path = folder / "index.sqlite"
    content = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'segment'").fetchone()
    content[(page - 1) * 4096 : page * 4096] = bytes(4096)
    path.write_bytes(content)
    problems = check_index(folder).problems
    assert f"damaged at offset {(page - 1) * 4096}" in problems[0]
    assert "malformed" in problems[-1]


def test_damaged_facts_and_tables_are_told_without_opening_the_index(folder: Path) -> None:
    for statement, words in (
        ("UPDATE meta SET value = 'many' WHERE key = 'generation'", "the table meta is damaged"),
        ("CREATE VIEW v AS SELECT 1", "its tables are not those"),
    ):
        sql(folder, statement)
        assert words in check_index(folder).problems[0]


def test_damaged_rows_of_an_older_format_are_not_given_a_proof(tmp_path: Path) -> None:
    old = write_old_index(tmp_path / "old", 1)
    sql(old, "UPDATE window SET row = 900 WHERE id = 1")
    with pytest.raises(IndexCorrupt, match="1 windows name vectors that were never committed"):
        migrate(old)
