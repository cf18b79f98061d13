"""Salvage copies what is proved, to the bit, and names every recording of which something is missing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mmret.errors import IndexCorrupt, IndexFormatError
from mmret.index import IndexStore
from mmret.index.check import check
from mmret.index.rows import Failed
from mmret.index.salvage import UNKNOWN_TIME, SalvageReport, salvage
from mmret.index.seal import SEAL
from mmret.index.search import nearest
from tests.index.made_up import Contents, add, contents, copy, encoded, new_store, recording, remove, unit_rows
from tests.index.old_formats import write_old_index

FILES = 60


@pytest.fixture(scope="module", params=["f32", "f16"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of many files in several vector files, with a copy, a failed and a removed file, and ties."""
    folder = tmp_path_factory.mktemp(request.param) / "index"
    with closing(new_store(folder, request.param)) as store:
        store.segment_bytes = 50 * store.layout.row_bytes
        with store.writer() as writer:
            for number in range(FILES):
                writer.commit([encoded(writer, f"{number:02d}", unit_rows(1 + number % 7, seed=number % 13))])
            writer.commit([Failed(recording("failed"), "empty")])
        copy(store, "copy", "05")
        add(store, "03", unit_rows(2, seed=99))
        remove(store, ["07"])
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(made, tmp_path / "index")
    return tmp_path / "index"


def held(folder: Path) -> Contents:
    """Contents of a whole index."""
    with closing(IndexStore.open(folder)) as store:
        assert check(store).problems == []
        return contents(store)


def damage(path: Path, position: int, length: int = 1) -> None:
    """Change bytes of a file."""
    content = bytearray(path.read_bytes())
    for place in range(position, min(position + length, len(content))):
        content[place] ^= 0x55
    path.write_bytes(content)


def test_a_whole_index_is_copied_whole(folder: Path, tmp_path: Path) -> None:
    before = held(folder)
    report = salvage(folder, tmp_path / "out")
    assert report == SalvageReport(files=FILES, failed=1, windows=sum(map(len, before.values())), lost=[])
    assert held(tmp_path / "out") == before
    query = unit_rows(1, seed=1)[0]
    results = []
    for place in (folder, tmp_path / "out"):
        with closing(IndexStore.open(place)) as store, store.snapshot() as snapshot:
            matches = nearest(snapshot, query[None], 500)[0]
            paths = snapshot.paths_of({match.window.file for match in matches})
            results.append([(paths[match.window.file], match.window.start_s, match.score) for match in matches])
            size = sum(part.segment.bytes for part in snapshot.maps)
    assert results[0] == results[1]
    assert size == sum(len(windows) for path, windows in before.items() if path != b"/sounds/copy") * (
        16 if folder.joinpath("vectors/000001.f16").exists() else 32
    )
    with closing(IndexStore.open(tmp_path / "out")) as store, store.rows() as snapshot:
        assert [file.reason for file in snapshot.files() if file.status == "failed"] == ["empty"]


def test_damaged_vectors_cost_their_windows_alone_and_are_read_again_later(folder: Path, tmp_path: Path) -> None:
    before = held(folder)
    first = next((folder / "vectors").glob("000001.*"))
    damage(first, 0)
    report = salvage(folder, tmp_path / "out")
    assert [(lost.path, lost.windows_kept) for lost in report.lost] == [("/sounds/00", 0)]
    del before[b"/sounds/00"]
    assert held(tmp_path / "out") == before


def test_a_cut_vector_file_leaves_the_part_of_a_recording_that_is_whole(folder: Path, tmp_path: Path) -> None:
    before = held(folder)
    with closing(IndexStore.open(folder)) as store, store.rows() as snapshot:
        layout, across = store.layout, None
        for file in snapshot.files():
            segments = [window.segment for window in snapshot.windows_of(file.id)]
            if len(set(segments)) == 2:
                across = file.path
                break
        assert across is not None, "a recording lies in two vector files"
        name = next(segment.name for segment in snapshot.segments() if segment.id == segments[-1])
    (folder / "vectors" / name).unlink()
    report = salvage(folder, tmp_path / "out")
    lost = {one.path.encode(): one.windows_kept for one in report.lost}
    assert 0 < lost[across] < len(before[across])
    after = held(tmp_path / "out")
    assert {path: len(windows) for path, windows in after.items()} == {
        path: lost.get(path, len(windows)) for path, windows in before.items() if lost.get(path) != 0
    }
    assert all(set(windows) <= set(before[path]) for path, windows in after.items())
    assert layout.dtype in name
    with closing(IndexStore.open(tmp_path / "out")) as store, store.writer() as writer:
        stored = writer.file_at(across)
        assert stored is not None
        assert (stored.mtime_ns, stored.sha256) == (UNKNOWN_TIME, None)


def test_every_damaged_page_of_the_rows_costs_no_more_than_it_holds(folder: Path, tmp_path: Path) -> None:
    before = held(folder)
    whole = (folder / "index.sqlite").read_bytes()
    saved = []
    for number, page in enumerate(range(4096, len(whole), 4096)):
        (folder / "index.sqlite").write_bytes(whole)
        damage(folder / "index.sqlite", page, 4096)
        out = tmp_path / str(number)
        try:
            report = salvage(folder, out)
        except IndexCorrupt:
            continue
        after = held(out)
        assert all(before[path] == windows for path, windows in after.items())
        assert len(report.lost) >= len(before) - len(after)
        saved.append(len(after) / len(before))
    assert np.mean([share == 1 for share in saved]) > 0.3, saved
    assert np.mean(saved) > 0.5, saved


@pytest.mark.parametrize("statement", ["UPDATE window SET start_s = 7 WHERE id = 1", "DELETE FROM file WHERE id = 1"])
def test_a_recording_whose_rows_are_not_proved_is_lost_by_name(folder: Path, tmp_path: Path, statement: str) -> None:
    before = held(folder)
    with closing(sqlite3.connect(folder / "index.sqlite")) as connection:
        connection.execute(statement)
        connection.commit()
    report = salvage(folder, tmp_path / "out")
    assert [lost.path for lost in report.lost] == ["/sounds/00" if "UPDATE" in statement else "file 1"]
    assert held(tmp_path / "out") == {path: windows for path, windows in before.items() if path != b"/sounds/00"}


def test_a_lost_seal_and_a_lost_table_of_checksums_cost_nothing(folder: Path, tmp_path: Path) -> None:
    before = held(folder)
    (folder / SEAL).unlink()
    with closing(sqlite3.connect(folder / "index.sqlite")) as connection:
        connection.execute("DELETE FROM block")
        connection.commit()
    assert salvage(folder, tmp_path / "out").lost == []
    assert held(tmp_path / "out") == before


def put_file(out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("mine")


def put_unfinished(out: Path) -> None:
    new_store(out.with_name(f".{out.name}.salvage")).close()


@pytest.mark.parametrize("prepare", [put_file, put_unfinished])
def test_a_folder_with_files_is_left_alone_and_a_stopped_salvage_is_begun_anew(
    tmp_path: Path, prepare: Callable[[Path], None]
) -> None:
    with closing(new_store(tmp_path / "index")) as store:
        add(store, "a", unit_rows(3))
    out = tmp_path / "out"
    prepare(out)
    if prepare is put_file:
        with pytest.raises(IndexFormatError, match="is not empty"):
            salvage(tmp_path / "index", out)
    else:
        assert salvage(tmp_path / "index", out).windows == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "out"]


def test_an_older_format_and_a_foreign_folder_are_refused(tmp_path: Path) -> None:
    write_old_index(tmp_path / "old", 1)
    with pytest.raises(IndexFormatError, match="mmret migrate"):
        salvage(tmp_path / "old", tmp_path / "out")
    with pytest.raises(IndexFormatError, match="is no index"):
        salvage(tmp_path / "missing", tmp_path / "out")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "index.sqlite").write_bytes(b"RIFF" * 2000)
    with pytest.raises(IndexCorrupt, match="not a database"):
        salvage(tmp_path / "foreign", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_proof_of_nothing_proves_no_file_that_is_gone(folder: Path, tmp_path: Path) -> None:
    before = held(folder)
    with closing(sqlite3.connect(folder / "index.sqlite", isolation_level=None)) as connection:
        (digest,) = connection.execute("SELECT digest FROM proof WHERE file = 2").fetchone()
        connection.execute("UPDATE proof SET file = 500 WHERE file = 2")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database = folder / "index.sqlite"
    # a row of a 16-byte blob becomes one of a NULL, as a single flipped bit does it
    stored = database.read_bytes()
    assert stored.count(b"\x03\x00\x2c" + digest) == 1
    database.write_bytes(stored.replace(b"\x03\x00\x2c" + digest, b"\x03\x00\x00" + digest))
    report = salvage(folder, tmp_path / "out")
    assert sorted(lost.path for lost in report.lost) == ["/sounds/01", "file 500"]
    assert held(tmp_path / "out") == {path: windows for path, windows in before.items() if path != b"/sounds/01"}
