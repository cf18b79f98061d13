"""Vectors are given to a second recording only where their checksums hold."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mmret.index import IndexStore
from mmret.index.segments_file import SegmentMap
from tests.index.made_up import DIM, add, copy, encoded, new_store, recording, unit_rows

ROW_BYTES = 4 * DIM


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of three files: rows 0 to 2, 3 to 4 and, across the end of the vector file, 5 to 7."""
    with closing(new_store(tmp_path / "index")) as store:
        store.segment_bytes = 6 * ROW_BYTES
        for number, rows in enumerate((3, 2, 3)):
            add(store, f"{number}.wav", unit_rows(rows, seed=number))
    return tmp_path / "index"


def damage(folder: Path, row: int, segment: int = 1) -> None:
    path = folder / "vectors" / f"{segment:06d}.f32"
    content = bytearray(path.read_bytes())
    content[row * ROW_BYTES] ^= 0x55
    path.write_bytes(content)


@pytest.fixture
def opened(folder: Path) -> Iterator[IndexStore]:
    with closing(IndexStore.open(folder)) as store:
        yield store


def sources(store: IndexStore) -> list[bool]:
    """For each file whether its vectors may be used again."""
    with store.writer() as writer:
        return [writer.same_content(recording(f"{number}.wav").sha256 or b"") is not None for number in range(3)]


@pytest.mark.parametrize(
    ("segment", "row", "whole"),
    [
        (1, 0, [False, True, True]),
        (1, 2, [False, True, True]),
        (1, 3, [True, False, True]),
        (1, 5, [True, True, False]),
        (2, 1, [True, True, False]),
    ],
)
def test_only_the_recordings_of_a_damaged_block_are_refused(
    folder: Path, opened: IndexStore, segment: int, row: int, whole: list[bool]
) -> None:
    assert sources(opened) == [True] * 3
    damage(folder, row, segment)
    assert sources(opened) == whole


def test_damage_is_told_once_with_what_to_do(
    folder: Path, opened: IndexStore, caplog: pytest.LogCaptureFixture
) -> None:
    damage(folder, 1)
    copy(opened, "copy.wav", "0.wav")
    with caplog.at_level(logging.WARNING), opened.writer() as writer:
        for _ in range(2):
            assert writer.same_content(b"0.wav") is None
    (message,) = caplog.messages
    assert "vectors of rows 0 to 2 (offset 0) are damaged" in message
    assert f"mmret salvage {folder} OUT; to see all that is damaged: mmret check {folder}" in message


def test_a_whole_copy_serves_where_the_first_recording_is_damaged(folder: Path, opened: IndexStore) -> None:
    damage(folder, 1)
    with opened.writer() as writer:
        again = encoded(writer, "0.wav", unit_rows(3))
        writer.commit([type(again)(recording("copy.wav", b"0.wav"), 16000, 48000, again.bounds_s, again.blocks)])
    with opened.writer() as writer:
        source = writer.same_content(b"0.wav")
    assert source is not None
    assert source.path == b"/sounds/copy.wav"


def test_no_more_blocks_are_read_than_those_of_the_recording(
    opened: IndexStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    verify = SegmentMap.verify
    with opened.writer() as writer:
        monkeypatch.setattr(
            SegmentMap,
            "verify",
            lambda self, blocks: (read.extend(one.first_row for one in blocks), verify(self, blocks)),
        )
        for _ in range(2):
            assert writer.same_content(b"1.wav") is not None
    assert read == [3]


def test_a_vector_file_that_is_gone_is_damage_too(folder: Path, opened: IndexStore) -> None:
    (folder / "vectors" / "000002.f32").unlink()
    assert sources(opened) == [True, True, False]
