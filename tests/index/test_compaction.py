"""Compaction keeps every live window to the bit, gives the rest back, and disturbs nobody."""

from __future__ import annotations

import tempfile
from collections import namedtuple
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmret.errors import IndexCorrupt, MmretError
from mmret.index import IndexStore
from mmret.index.check import check
from mmret.index.compaction import compact
from mmret.index.search import nearest
from tests.index.made_up import DIM, add, contents, copy, new_store, remove, unit_rows


def files(folder: Path) -> list[str]:
    """Names of the vector files of an index."""
    return sorted(path.name for path in (folder / "vectors").iterdir())


@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_what_is_live_stays_to_the_bit_and_the_rest_goes(tmp_path: Path, dtype: str) -> None:
    with closing(new_store(tmp_path, dtype)) as store:
        store.segment_bytes = 4 * store.layout.row_bytes
        for number, name in enumerate("abcd"):
            add(store, name, unit_rows(3, seed=number))
        add(store, "c", unit_rows(2, seed=9))
        remove(store, ["b"])
        kept = contents(store)
        report = compact(store)
        assert (report.windows, report.forgotten, report.vector_bytes) == (8, 1, 8 * store.layout.row_bytes)
        assert report.freed_bytes == 6 * store.layout.row_bytes
        assert contents(store) == kept
        assert check(store).problems == check(store).unused == []
        assert files(tmp_path) == [f"00000{number}.{dtype}" for number in (5, 6)]
        again = compact(store)
        assert (again.freed_bytes, files(tmp_path)) == (0, [f"00000{number}.{dtype}" for number in (5, 6)])
        add(store, "e", unit_rows(5, seed=5))
        assert {**kept, b"/sounds/e": contents(store)[b"/sounds/e"]} == contents(store)


def test_shared_vectors_stay_shared_and_live_while_one_file_names_them(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a", unit_rows(3))
        copy(store, "b", "a")
        copy(store, "c", "a")
        remove(store, ["a"])
        kept = contents(store)
        assert compact(store).vector_bytes == 3 * DIM * 4
        assert contents(store) == kept
        assert set(kept) == {b"/sounds/b", b"/sounds/c"}


def test_an_index_of_which_all_was_removed_becomes_empty(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a", unit_rows(3))
        remove(store, ["a"])
        assert compact(store).freed_bytes == 3 * DIM * 4
        assert files(tmp_path) == []
        assert check(store).problems == []
        add(store, "a", unit_rows(2))
        assert check(store).windows == 2


def test_a_reader_keeps_its_generation_and_finds_the_next_one(tmp_path: Path) -> None:
    query = unit_rows(1, seed=3)[0]
    with closing(new_store(tmp_path)) as store, closing(IndexStore.open(tmp_path)) as reader:
        add(store, "a", unit_rows(3))
        add(store, "b", unit_rows(3, seed=1))
        with reader.snapshot() as snapshot:
            before = [(match.window.id, match.score) for match in nearest(snapshot, query[None], 9)[0]]
            remove(store, ["a"])
            compact(store)
            assert [(match.window.id, match.score) for match in nearest(snapshot, query[None], 9)[0]] == before
        with reader.snapshot() as snapshot:
            kept = [(match.window.id, match.score) for match in nearest(snapshot, query[None], 9)[0]]
        assert kept == [match for match in before if match[0] > 3]
        assert list(reader._maps) == [2]


def test_a_reader_whose_files_are_deleted_before_it_maps_them_takes_a_new_snapshot(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store, closing(IndexStore.open(tmp_path)) as reader:
        add(store, "a", unit_rows(3))
        add(store, "b", unit_rows(3, seed=1))
        remove(store, ["a"])
        map_it = reader._map

        def compact_first(snapshot: object) -> None:
            reader._map = map_it  # type: ignore[method-assign]
            compact(store)
            map_it(snapshot)  # type: ignore[arg-type]

        reader._map = compact_first  # type: ignore[method-assign]
        with reader.snapshot() as snapshot:
            assert [part.segment.name for part in snapshot.maps] == ["000002.f32"]


def test_without_room_nothing_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a", unit_rows(3))
        add(store, "b", unit_rows(3, seed=1))
        remove(store, ["a"])
        monkeypatch.setattr("shutil.disk_usage", lambda folder: namedtuple("Usage", "free")(1000))
        with pytest.raises(MmretError, match=r"compacting needs \d+ bytes .* 1000 are free"):
            compact(store)
        assert files(tmp_path) == ["000001.f32"]
        assert check(store).windows == 3


def test_damaged_vectors_are_not_given_a_new_checksum(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a", unit_rows(3))
        add(store, "b", unit_rows(3, seed=1))
        remove(store, ["a"])
    path = tmp_path / "vectors" / "000001.f32"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with closing(IndexStore.open(tmp_path)) as store:
        with pytest.raises(IndexCorrupt, match="rows 3 to 5"):
            compact(store)
        assert files(tmp_path) == ["000001.f32"]


def test_files_that_no_row_names_are_deleted_by_the_next_writer_and_others_are_not(tmp_path: Path) -> None:
    with closing(new_store(tmp_path)) as store:
        add(store, "a", unit_rows(3))
        for name in ("000007.f32", "000002.f16", "notes.txt"):
            (tmp_path / "vectors" / name).write_bytes(b"left over")
        assert check(store).unused == ["000002.f16", "000007.f32"]
        add(store, "b", unit_rows(3))
        assert files(tmp_path) == ["000001.f32", "notes.txt"]
        assert check(store).problems == []


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 5), st.integers(1, 6)),
        st.tuples(st.just("copy"), st.integers(0, 5), st.integers(0, 5)),
        st.tuples(st.just("remove"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("compact"), st.just(0), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0), st.just(0)),
    ),
    max_size=14,
)


@settings(max_examples=25, deadline=None)
@given(steps=steps, rows_per_segment=st.integers(1, 12))
def test_any_sequence_of_changes_holds_what_a_dict_would(
    steps: list[tuple[str, int, int]], rows_per_segment: int
) -> None:
    model: dict[str, list[bytes]] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = new_store(Path(folder) / "index")
        for step, (verb, name, argument) in enumerate(steps):
            store.segment_bytes = rows_per_segment * DIM * 4
            if verb == "add":
                vectors = unit_rows(argument, seed=step)
                add(store, str(name), vectors)
                model[str(name)] = [vector.tobytes() for vector in vectors]
            elif verb == "copy" and str(argument) in model:
                copy(store, str(name), str(argument))
                model[str(name)] = model[str(argument)]
            elif verb == "remove":
                remove(store, [str(name)])
                model.pop(str(name), None)
            elif verb == "compact":
                compact(store)
            else:
                store.close()
                store = IndexStore.open(Path(folder) / "index")
        with closing(store):
            held = {path.decode(): [window[2] for window in windows] for path, windows in contents(store).items()}
            assert held == {f"/sounds/{name}": vectors for name, vectors in model.items()}
            assert check(store).problems == []
