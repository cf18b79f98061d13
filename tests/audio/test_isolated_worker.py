"""What a worker puts in the memory that it shares with its reader, and what it answers."""

from __future__ import annotations

import io
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmret.audio import isolated_worker
from mmret.audio.decode import DecodeLimits, Samples, decode
from mmret.audio.isolated_worker import _Reader, _serve
from mmret.audio.worker_protocol import (
    FAILED,
    FINISHED,
    GO_ON,
    HEADER,
    MAX_REASON,
    SAMPLES,
    SHARED_SAMPLES,
    Request,
)
from mmret.errors import AudioError
from tests.audio.sounds import wave, write

REQUEST = Request(b"/a\xff\n.wav", 16_000, 60.0, 1 / 60, DecodeLimits(max_seconds=5))


class Answers(io.RawIOBase):
    """A pipe that takes a byte at a time, and notes what lay in the memory at each answer."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory, self.written = memory, b""
        self.loads: list[np.ndarray] = []

    def writable(self) -> bool:
        return True

    def write(self, data: memoryview) -> int:
        self.written += bytes(data[:1])
        if len(self.written) % struct.calcsize(HEADER) == 0:
            kind, number = struct.unpack(HEADER, self.written[-struct.calcsize(HEADER) :])
            if kind in (SAMPLES, FINISHED):
                self.loads.append(np.frombuffer(self.memory, np.float32, number).copy())
        return 1


def served(decoded: Iterator[Samples], go_on: bytes = 9 * GO_ON, *, request: Request = REQUEST) -> Answers:
    """Answers of a worker whose decoder gives these blocks."""
    memory = mmap.mmap(-1, 4 * SHARED_SAMPLES)
    answers = Answers(memory)
    _serve(request, lambda request: decoded, _Reader(io.BytesIO(go_on), answers, memory))
    return answers


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A limit of CPU time would be that of all tests."""
    until_s: list[float] = []
    monkeypatch.setattr(isolated_worker, "_limit_cpu", until_s.append)
    return until_s


def test_a_request_comes_through_a_pipe_as_it_was() -> None:
    stream = io.BytesIO(REQUEST.packed() + REQUEST.packed())
    assert [Request.read(stream), Request.read(stream), Request.read(stream)] == [REQUEST, REQUEST, None]


def test_samples_of_a_short_recording_come_with_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", wave(1.0, 44_100, 2), 44_100, "WAV", "PCM_16")
    request = Request(bytes(path), 16_000, 60.0, 1 / 60, DecodeLimits())
    answers = served(isolated_worker.decoded(request), b"", request=request)
    (load,) = answers.loads
    np.testing.assert_array_equal(load, decode(path, 16_000))
    assert answers.written == struct.pack(HEADER, FINISHED, 16_000)


def test_the_memory_is_filled_again_once_the_reader_has_taken_it(no_limits: list[float]) -> None:
    sound = np.arange(2 * SHARED_SAMPLES + 5, dtype=np.float32)
    answers = served(iter(np.split(sound, [7, SHARED_SAMPLES - 1, SHARED_SAMPLES + 1])), 2 * GO_ON)
    assert [len(load) for load in answers.loads] == [SHARED_SAMPLES, SHARED_SAMPLES, 5]
    np.testing.assert_array_equal(np.concatenate(answers.loads), sound)
    assert len(no_limits) == 5 and no_limits[-1] - no_limits[0] == pytest.approx(len(sound) / 16_000 / 60)


def test_a_reader_that_is_gone_ends_the_worker() -> None:
    with pytest.raises(SystemExit):
        served(iter([np.ones(SHARED_SAMPLES, np.float32)]), b"")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AudioError("a.wav", "truncated"), b"truncated"),
        (AudioError("a.wav", "x" * (MAX_REASON + 9)), b"x" * MAX_REASON),
        (MemoryError(), b"decoder stopped at its limit of memory (memory_bytes)"),
    ],
)
def test_samples_before_a_failure_are_handed_over_first(error: Exception, reason: bytes) -> None:
    def blocks() -> Iterator[Samples]:
        yield np.ones(3, np.float32)
        raise error

    assert (
        served(blocks()).written == struct.pack(HEADER, SAMPLES, 3) + struct.pack(HEADER, FAILED, len(reason)) + reason
    )
