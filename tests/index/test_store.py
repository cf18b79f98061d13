"""The store keeps what it acknowledged, shows whole generations, and refuses what is not its own."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mmret.errors import IndexCorrupt, IndexFormatError, IndexLocked, MmretError
from mmret.index import IndexStore
from mmret.index.check import check
from mmret.index.rows import Failed, Recording, Reused
from mmret.index.search import nearest
from tests.index.made_up import DIM, add, encoded, new_store, recording, unit_rows


def test_committed_rows_are_there_after_reopening(tmp_path: Path) -> None:
    vectors = unit_rows(5)
    with closing(new_store(tmp_path / "index")) as store:
        add(store, "a.wav", vectors[:3])
        add(store, "b.wav", vectors[3:])
    with closing(IndexStore.open(tmp_path / "index")) as store, store.snapshot() as snapshot:
        assert snapshot.generation == 2
        assert np.array_equal(np.concatenate([part.vectors for part in snapshot.maps]), vectors)
        assert [file.path for file in snapshot.files()] == [b"/sounds/a.wav", b"/sounds/b.wav"]
        assert snapshot.totals().windows == 5
        assert snapshot.totals().seconds == 5.0
    with closing(IndexStore.open(tmp_path / "index")) as store:
        assert check(store).problems == []


def test_left_over_vectors_of_a_stopped_writer_are_cut_at_the_next_append(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a.wav", unit_rows(2))
        with (tmp_path / "vectors" / "000001.f32").open("ab") as file:
            file.write(b"torn" * 100)
        add(store, "b.wav", unit_rows(1, seed=1))
        assert (tmp_path / "vectors" / "000001.f32").stat().st_size == 3 * DIM * 4
        assert check(store).problems == []


def test_appended_but_not_committed_vectors_are_never_seen(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store:
        with store.writer() as writer:
            writer.append(unit_rows(4))
        with store.writer() as writer:
            writer.append(unit_rows(2))
            writer.discard()
            writer.commit([encoded(writer, "a.wav", unit_rows(1, seed=2))])
        with store.snapshot() as snapshot:
            assert np.array_equal(snapshot.maps[0].vectors, unit_rows(1, seed=2))


def test_a_changed_file_replaces_its_windows_in_one_generation(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a.wav", unit_rows(3))
        add(store, "a.wav", unit_rows(2, seed=1))
        with store.snapshot() as snapshot:
            assert snapshot.totals().files == 1
            assert [match.window.row for match in nearest(snapshot, unit_rows(1), 10)[0]] != []
            assert {match.window.row for match in nearest(snapshot, unit_rows(1), 10)[0]} == {3, 4}


def test_a_copy_shares_the_vectors_of_its_source(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a.wav", unit_rows(3))
        size = (tmp_path / "vectors" / "000001.f32").stat().st_size
        with store.writer() as writer:
            source = writer.same_content(b"a.wav")
            assert source is not None
            writer.commit([Reused(recording("b.wav", b"a.wav"), source.id)])
        assert (tmp_path / "vectors" / "000001.f32").stat().st_size == size
        with store.snapshot() as snapshot:
            matches = nearest(snapshot, unit_rows(3)[1:2], 2)[0]
            assert [match.window.file for match in matches] == [1, 2]
            assert matches[0].score == matches[1].score


def test_a_failed_file_keeps_its_reason_and_a_removed_one_is_gone(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a.wav", unit_rows(3))
        with store.writer() as writer:
            writer.commit([Failed(recording("b.wav"), "empty")])
            assert len(writer.files_below(b"/sounds")) == 2
            assert writer.files_below(b"/sound") == []
            stored = writer.file_at(b"/sounds/a.wav")
            assert stored is not None
            writer.remove([stored], "removed")
        with store.snapshot() as snapshot:
            assert {file.path: (file.status, file.reason) for file in snapshot.files()} == {
                b"/sounds/a.wav": ("gone", "removed"),
                b"/sounds/b.wav": ("failed", "empty"),
            }
            assert nearest(snapshot, unit_rows(1), 10)[0] == []


def test_a_file_found_under_two_roots_has_one_row(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "deep/a.wav", unit_rows(1))
        with store.writer() as writer:
            again = Recording(b"/sounds/deep", b"/sounds/deep/a.wav", 1, 1, b"x")
            writer.commit([Failed(again, "empty")])
        with store.snapshot() as snapshot:
            assert [(file.path, file.status) for file in snapshot.files()] == [(b"/sounds/deep/a.wav", "failed")]


def test_vectors_go_on_in_a_new_file_when_one_is_full(tmp_path: Path) -> None:
    vectors = unit_rows(7)
    with closing(new_store(tmp_path)) as store:
        store.segment_bytes = 3 * DIM * 4
        add(store, "a.wav", vectors[:2])
        add(store, "b.wav", vectors[2:])
        assert sorted(path.name for path in (tmp_path / "vectors").iterdir()) == [
            "000001.f32",
            "000002.f32",
            "000003.f32",
        ]
        with store.snapshot() as snapshot:
            assert np.array_equal(np.concatenate([part.vectors for part in snapshot.maps]), vectors)
            assert [window.row for window in snapshot.windows_of(2)] == [2, 0, 1, 2, 0]
        assert check(store).problems == []


def test_a_reader_keeps_its_state_while_a_writer_commits(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store, closing(IndexStore.open(tmp_path)) as reader:
        add(store, "a.wav", unit_rows(2))
        with reader.snapshot() as snapshot:
            add(store, "b.wav", unit_rows(3))
            assert snapshot.window_count() == 2
            assert len(snapshot.maps[0].vectors) == 2
        with reader.snapshot() as snapshot:
            assert snapshot.window_count() == 5


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    with (
        closing(new_store(tmp_path)) as store,
        closing(IndexStore.open(tmp_path)) as other,
        store.writer(),
        pytest.raises(IndexLocked, match=f"process {os.getpid()} on "),
        other.writer(),
    ):
        pass
    with closing(IndexStore.open(tmp_path)) as store, store.writer():
        pass


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(IndexFormatError, match="holds other files"):
        new_store(tmp_path)
    with pytest.raises(IndexFormatError, match="is no index"):
        IndexStore.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_a_stopped_creation_left_does_not_stop_the_next(tmp_path: Path) -> None:
    (tmp_path / "LOCK").touch()
    (tmp_path / "vectors").mkdir()
    (tmp_path / "index.sqlite.new").write_bytes(b"half")
    with closing(new_store(tmp_path)) as store:
        add(store, "a.wav", unit_rows(1))
    assert not (tmp_path / "index.sqlite.new").exists()


def test_an_index_of_another_format_is_refused_and_unharmed(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as connection:
        connection.execute("PRAGMA user_version=7")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = (tmp_path / "index.sqlite").read_bytes()
    with pytest.raises(IndexFormatError, match=r"format 7; this mmret reads 2"):
        IndexStore.open(tmp_path)
    with pytest.raises(IndexFormatError, match="format 7"):
        new_store(tmp_path)
    assert (tmp_path / "index.sqlite").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + bytes(200), b"RIFF" * 50])
def test_a_foreign_database_is_no_index(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.sqlite").write_bytes(content)
    with pytest.raises(IndexFormatError, match="was not made by mmret"):
        IndexStore.open(tmp_path)


def test_a_foreign_trigger_is_refused(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON file BEGIN DELETE FROM window; END")
    with pytest.raises(IndexCorrupt, match="its tables are not those"):
        IndexStore.open(tmp_path)


def test_a_flipped_bit_among_the_vectors_is_named_with_its_place(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a.wav", unit_rows(2))
        add(store, "b.wav", unit_rows(2))
    path = tmp_path / "vectors" / "000001.f32"
    content = bytearray(path.read_bytes())
    content[2 * DIM * 4 + 5] ^= 1
    path.write_bytes(content)
    with closing(IndexStore.open(tmp_path)) as store:
        with pytest.raises(IndexCorrupt, match=r"000001.f32.*rows 2 to 3 \(offset 64\)"), store.snapshot():
            pass
        assert len(check(store).problems) == 1


@pytest.mark.parametrize("harm", ["cut", "missing"])
def test_lost_vectors_are_refused_at_opening(tmp_path: Path, harm: str) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a.wav", unit_rows(2))
    path = tmp_path / "vectors" / "000001.f32"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    with pytest.raises(IndexCorrupt, match=r"000001.f32"):
        IndexStore.open(tmp_path)


def test_damaged_rows_never_give_a_wrong_kind_of_error(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a.wav", unit_rows(20))
    path = tmp_path / "index.sqlite"
    whole = path.read_bytes()
    generator = np.random.Generator(np.random.PCG64(1))
    for position in generator.integers(0, len(whole), 60).tolist():
        damaged = bytearray(whole)
        damaged[position : position + 64] = bytes(len(damaged[position : position + 64]))
        path.write_bytes(damaged)
        try:
            with closing(IndexStore.open(tmp_path)) as store, store.snapshot() as snapshot:
                nearest(snapshot, unit_rows(1), 5)[0]
        except MmretError:
            pass
        for side_file in ("-wal", "-shm"):
            (tmp_path / f"index.sqlite{side_file}").unlink(missing_ok=True)


def test_a_closed_store_and_a_store_from_before_a_fork_say_so(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store._pid = -1
    with pytest.raises(MmretError, match="before a fork"), store.rows():
        pass
    store.close()
    with pytest.raises(MmretError, match="is closed"), store.rows():
        pass


def test_a_full_disk_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a.wav", unit_rows(2))
        written = os.write

        def write_some(descriptor: int, payload: bytes) -> int:
            if len(payload) > 40:
                return written(descriptor, payload[:40])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("mmret.index.segments_file.os.write", write_some)
        with pytest.raises(MmretError, match=r"No space left on device; \d+ bytes"):
            add(store, "b.wav", unit_rows(3))
        monkeypatch.undo()
        assert check(store).problems == []
        add(store, "b.wav", unit_rows(3))
        assert check(store).windows == 5


def test_a_failed_sync_is_not_tried_again_on_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with closing(new_store(tmp_path)) as store:
        add(store, "a.wav", unit_rows(2))
        monkeypatch.setattr("mmret.index.segments_file.os.fdatasync", fail)
        with pytest.raises(MmretError, match=r"000001.f32 could not be written"):
            add(store, "b.wav", unit_rows(3))
        monkeypatch.undo()
        add(store, "b.wav", unit_rows(3))
        with store.snapshot() as snapshot:
            assert [part.segment.name for part in snapshot.maps] == ["000001.f32", "000002.f32"]
        assert check(store).problems == []
