"""A deep check notices vectors that are not those of their recordings, and tells them from recordings that changed."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mmret.audio.decode import decode_blocks
from mmret.errors import IndexCorrupt, MmretError
from mmret.index import IndexStore
from mmret.index.row_writer import generation
from mmret.tasks import deep_check
from mmret.tasks.search import DeepReport, Index
from tests.tasks.fake_encoder import BANDS, FakeEncoder, write_tone


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Six recordings of four windows."""
    for number in range(6):
        write_tone(tmp_path / "sounds" / f"{number}.wav", 300 + 400 * number, 2.5, seed=number)
    return tmp_path / "sounds"


@pytest.fixture
def folder(sounds: Path, tmp_path: Path) -> Path:
    with Index.open(tmp_path / "index", FakeEncoder()) as index:
        assert index.add(sounds).windows == 24
    return tmp_path / "index"


def deep(folder: Path, encoder: FakeEncoder | None = None, **way: object) -> DeepReport:
    with Index.open(folder, encoder or FakeEncoder()) as index:
        return index.check_deep(**way)


def test_a_sound_index_has_no_problem_and_the_sample_is_at_least_twenty(folder: Path) -> None:
    encoder = FakeEncoder()
    assert deep(folder, encoder) == DeepReport(windows=24, sampled=20, recordings=6, compared=20)
    assert encoder.encoded == 20


def test_the_sample_is_a_share_and_always_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_check, "AT_LEAST", 1)
    monkeypatch.setattr(deep_check, "SHARE", 0.2)
    read: list[list[str]] = []

    def noting(path: Path, sample_rate: int) -> Iterator[NDArray[np.float32]]:
        read[-1].append(path.name)
        yield from decode_blocks(path, sample_rate)

    for _ in range(2):
        read.append([])
        assert deep(folder, decode=noting).compared == 5
    assert read[0] == read[1]


def test_a_vector_of_another_sound_is_named_with_its_place(
    folder: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deep_check, "AT_LEAST", 24)
    path = folder / "vectors" / "000001.f32"
    vectors = np.fromfile(path, np.float32).reshape(-1, BANDS)
    vectors[[4, 20]] = vectors[[20, 4]]  # of recordings 1 and 5, with checksums that hold
    path.write_bytes(vectors.tobytes())
    with closing(IndexStore.open_unproved(folder)) as store:
        blocks = store._connection.execute("SELECT first_row, rows FROM block").fetchall()
    with closing(IndexStore.open(folder)) as store, store.writer() as writer, generation(writer.connection):
        for first, rows in blocks:
            crc = zlib.crc32(vectors[first : first + rows].tobytes())
            writer.connection.execute("UPDATE block SET crc32 = ? WHERE first_row = ?", (crc, first))
    with Index.open(folder, FakeEncoder()) as index:
        assert index.check().problems == []
        problems = index.check_deep().problems
    assert [problem.partition(" has another vector now (cosine 0.")[0] for problem in problems] == [
        f"{sounds / name}: 0.00-1.00 s" for name in ("1.wav", "5.wav")
    ]


def test_missing_and_changed_recordings_are_no_problem_of_the_index(folder: Path, sounds: Path) -> None:
    (sounds / "0.wav").unlink()
    write_tone(sounds / "1.wav", 3000, 2.5)
    write_tone(sounds / "2.wav", 3000, 1.5)
    write_tone(sounds / "3.wav", 1500, 2.5, seed=3)  # its old bytes at a new time
    report = deep(folder)
    assert report.missing == [sounds / "0.wav"]
    assert report.changed == [sounds / "1.wav", sounds / "2.wav"]
    assert report.problems == []
    assert report.compared >= 20 - 12
    assert (report.windows, report.sampled, report.recordings) == (24, 20, 6)
    assert not report.tells_nothing


def test_a_sample_of_which_nothing_is_left_tells_nothing(folder: Path, sounds: Path) -> None:
    for path in sounds.iterdir():
        path.unlink()
    report = deep(folder)
    assert (report.compared, len(report.missing), report.tells_nothing) == (0, 6, True)


def test_an_encoder_that_hears_otherwise_is_noticed(folder: Path) -> None:
    class Deaf(FakeEncoder):
        def encode_waveforms(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
            return np.full((len(waveforms), BANDS), np.nan, np.float32)

    problems = deep(folder, Deaf()).problems
    assert len(problems) == 20
    assert problems[0].endswith("has another vector now (cosine nan)")


def test_a_decoder_that_gives_less_or_nothing_is_noticed(folder: Path, sounds: Path) -> None:
    def half(path: Path, sample_rate: int) -> Iterator[NDArray[np.float32]]:
        yield np.concatenate(list(decode_blocks(path, sample_rate)))[:10_000]

    problems = deep(folder, decode=half).problems
    assert any(problem.endswith("1.00-2.00 s is no window of it now") for problem in problems)
    for path in sounds.iterdir():
        stamp = path.stat()
        path.write_bytes(bytes(stamp.st_size))
        os.utime(path, ns=(stamp.st_mtime_ns, stamp.st_mtime_ns))
    report = deep(folder)
    assert (report.compared, len(report.problems)) == (0, 6)
    assert "0.wav: it was indexed, and now: " in report.problems[0]


def test_it_needs_an_encoder_and_whole_vectors(folder: Path) -> None:
    with Index.open(folder, None) as index, pytest.raises(MmretError, match="without an encoder"):
        index.check_deep()
    vectors = folder / "vectors" / "000001.f32"
    vectors.write_bytes(b"\x7f" + vectors.read_bytes()[1:])
    with pytest.raises(IndexCorrupt):
        deep(folder)


def test_an_empty_index_has_nothing_to_compare(tmp_path: Path) -> None:
    report = deep(tmp_path / "empty")
    assert report == DeepReport()
    assert not report.tells_nothing
