"""Recordings are decoded while others are encoded, and nothing else changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mmret.audio.decode import decode_blocks
from mmret.tasks.ahead import EncodingThread
from mmret.tasks.search import Index
from tests.tasks.fake_encoder import FakeEncoder, write_tone

Waves = Sequence[NDArray[np.float32]]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Four recordings of three windows."""
    for number in range(4):
        write_tone(tmp_path / "sounds" / f"{number}.wav", 300 + 400 * number, seed=number)
    return tmp_path / "sounds"


@pytest.fixture(autouse=True)
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording fills a queue."""
    monkeypatch.setattr("mmret.tasks.indexing.WINDOWS_PER_CALL", 3)


def encoding_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("mmret-encode")]


def test_the_next_recording_is_decoded_while_one_is_encoded(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_is_read = threading.Event()
    waited: list[bool] = []

    class Patient(FakeEncoder):
        def encode_waveforms(self, waveforms: Waves) -> NDArray[np.float32]:
            waited.append(next_is_read.wait(timeout=20))
            return super().encode_waveforms(waveforms)

    def watched(path: Path, sample_rate: int) -> Iterator[NDArray[np.float32]]:
        if path.name == "1.wav":
            next_is_read.set()
        yield from decode_blocks(path, sample_rate)

    with Index.open(tmp_path / "index", Patient()) as index:
        assert index.add(sounds, decode=watched).added == 4
    assert all(waited)
    assert encoding_threads() == []


def test_an_interrupt_ends_the_thread_and_leaves_what_was_committed(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmret.tasks.indexing.SECONDS_PER_COMMIT", 0.0)

    def interrupted(path: Path, sample_rate: int) -> Iterator[NDArray[np.float32]]:
        if path.name == "3.wav":
            raise KeyboardInterrupt
        yield from decode_blocks(path, sample_rate)

    with Index.open(tmp_path / "index", FakeEncoder()) as index:
        with pytest.raises(KeyboardInterrupt):
            index.add(sounds, decode=interrupted)
        assert encoding_threads() == []
        assert 1 <= index.info().files < 4
        monkeypatch.undo()
        assert index.add(sounds).failed == []
        assert index.info().files == 4


def test_a_fault_of_the_encoder_itself_is_raised_where_it_is_added(sounds: Path, tmp_path: Path) -> None:
    class Broken(FakeEncoder):
        def encode_waveforms(self, waveforms: Waves) -> NDArray[np.float32]:
            raise ZeroDivisionError

    with Index.open(tmp_path / "index", Broken()) as index:
        with pytest.raises(ZeroDivisionError):
            index.add(sounds)
        assert index.info().files == 0
    assert encoding_threads() == []


def test_a_closed_thread_begins_no_further_call() -> None:
    begun, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def encode(waveforms: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        calls.append(len(waveforms))
        begun.set()
        go_on.wait(timeout=20)
        return np.zeros((len(waveforms), 2), np.float32)

    thread = EncodingThread(encode, dim=2)
    thread.start([np.zeros(length, np.float32) for length in (4, 5, 6, 4)])
    assert begun.wait(timeout=20)
    closing = threading.Thread(target=thread.close)
    closing.start()
    while not thread._stopped.wait(timeout=20):
        pass
    go_on.set()
    closing.join(timeout=20)
    assert calls == [2]
