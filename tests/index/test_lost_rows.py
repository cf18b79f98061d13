"""Where the rows of an index are lost or cut, every way in says what can still be done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mmret.errors import IndexCorrupt, IndexFormatError
from mmret.index import IndexStore
from mmret.index.check import check
from mmret.index.migrations import migrate
from mmret.index.salvage import salvage
from mmret.tasks.maintenance import check_index
from tests.index.made_up import contents, encoded, new_store, unit_rows

FILES = 200
LAST_RESORT = "Restore it from a backup, or index the recordings again into another folder"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of many files, closed."""
    folder = tmp_path_factory.mktemp("made") / "index"
    with closing(new_store(folder)) as store, store.writer() as writer:
        writer.commit([encoded(writer, f"{number:03d}", unit_rows(3, seed=number)) for number in range(FILES)])
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "index", ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    return tmp_path / "index"


WAYS_IN: list[Callable[[Path], object]] = [IndexStore.open, migrate, new_store]


def saving(folder: Path) -> object:
    return salvage(folder, folder.with_name("saved"))


@pytest.mark.parametrize("way_in", [*WAYS_IN, saving])
def test_vectors_without_rows_are_told_as_what_they_are(folder: Path, way_in: Callable[[Path], object]) -> None:
    (folder / "index.sqlite").unlink()
    with pytest.raises(IndexCorrupt, match=r"lost its rows: index\.sqlite is not there, and vectors alone") as error:
        way_in(folder)
    assert str(error.value).endswith(LAST_RESORT)


def test_check_tells_of_lost_rows_as_of_any_other_damage(folder: Path) -> None:
    (folder / "index.sqlite").unlink()
    (problem,) = check_index(folder).problems
    assert "lost its rows" in problem


@pytest.mark.parametrize("length", [0, 50])
@pytest.mark.parametrize("way_in", [*WAYS_IN, saving])
def test_rows_cut_within_their_header_are_damage_beyond_saving(
    folder: Path, way_in: Callable[[Path], object], length: int
) -> None:
    os.truncate(folder / "index.sqlite", length)
    with pytest.raises(IndexCorrupt) as error:
        way_in(folder)
    assert str(error.value).endswith(LAST_RESORT)


def test_another_program_s_file_is_no_damaged_index(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(bytes(4096))
    with pytest.raises(IndexFormatError, match="was not made by mmret"):
        IndexStore.open(tmp_path)


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_cut_rows_name_the_command_that_may_help(folder: Path, way_in: Callable[[Path], object]) -> None:
    os.truncate(folder / "index.sqlite", 8 * 4096)
    with pytest.raises(IndexCorrupt) as error:
        way_in(folder)
    assert str(error.value).endswith(f"Save what is whole with: mmret salvage {folder} OUT")


def test_a_salvage_of_cut_rows_saves_what_is_left_of_them_or_says_that_it_cannot(folder: Path, tmp_path: Path) -> None:
    with closing(IndexStore.open(folder)) as store:
        before = contents(store)
    for side_file in folder.glob("index.sqlite-*"):
        side_file.unlink()
    whole = (folder / "index.sqlite").read_bytes()
    saved = []
    for length in (*range(4096, len(whole), 4096), len(whole) - 1):
        (folder / "index.sqlite").write_bytes(whole[:length])
        out = tmp_path / f"out{length}"
        try:
            report = salvage(folder, out)
        except IndexCorrupt as error:
            assert str(error).endswith(LAST_RESORT)
            assert not out.exists()
            continue
        with closing(IndexStore.open(out)) as store:
            assert check(store).problems == []
            assert contents(store).items() <= before.items()
        assert report.files or report.lost
        saved.append(report.files)
        assert (folder / "index.sqlite").read_bytes() == whole[:length]
    assert max(saved) > FILES // 2
    assert {path.name for path in tmp_path.glob(".*")} == set()
