"""An index without windows can be taken away; one with windows, or in somebody's hands, stays."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from mmret.errors import IndexLocked
from mmret.index import IndexStore
from mmret.index.discard import discard_if_empty
from tests.index.made_up import add, new_store, unit_rows


def test_an_empty_index_goes_and_its_folder_stays(tmp_path: Path) -> None:
    new_store(tmp_path / "index").close()
    (tmp_path / "index" / "vectors" / "000001.f32").write_bytes(b"never committed")
    assert discard_if_empty(tmp_path / "index")
    assert list((tmp_path / "index").iterdir()) == []
    new_store(tmp_path / "index").close()


def test_an_index_with_windows_stays(tmp_path: Path) -> None:
    with closing(new_store(tmp_path / "index")) as store:
        add(store, "a.wav", unit_rows(2))
    assert not discard_if_empty(tmp_path / "index")
    with closing(IndexStore.open(tmp_path / "index")) as store, store.snapshot() as snapshot:
        assert snapshot.window_count() == 2


def test_an_index_that_is_being_written_stays(tmp_path: Path) -> None:
    with closing(new_store(tmp_path / "index")) as store, store.writer(), pytest.raises(IndexLocked):
        discard_if_empty(tmp_path / "index")
    assert IndexStore.exists(tmp_path / "index")
