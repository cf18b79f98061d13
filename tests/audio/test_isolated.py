"""A decoder in a process of its own: the same samples, and whatever becomes of it is one recording's error."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from mmret.audio.decode import DecodeLimits, decode_blocks
from mmret.audio.isolated import IsolatedDecoder, WorkerLimits, _shared_memory
from mmret.audio.worker_protocol import SHARED_SAMPLES
from mmret.errors import AudioError
from tests.audio.sounds import FORMATS, wave, write

RATE = 16_000


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "good.wav", wave(6.0, 44_100, 2), 44_100, "WAV", "PCM_16")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do as a file's name says."""
    monkeypatch.setattr(IsolatedDecoder, "_command", ("-m", "tests.audio.hostile_worker"))
    monkeypatch.setenv("MMRET_TEST_PLACE", str(tmp_path))


def workers() -> set[str]:
    """Process numbers of this process's children."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def joined(decode: IsolatedDecoder, path: Path) -> np.ndarray:
    return np.concatenate(list(decode(path, RATE)))


def test_every_format_has_the_very_samples_of_this_process(tmp_path: Path) -> None:
    with IsolatedDecoder() as decode:
        for name, file_format, subtype, rate in FORMATS:
            path = write(tmp_path / name, wave(1.6, rate, 2), rate, file_format, subtype)
            (samples,) = decode(path, RATE)  # short enough to come as one
            np.testing.assert_array_equal(samples, np.concatenate(list(decode_blocks(path, RATE))))
            assert (samples.dtype, samples.flags.writeable) == (np.float32, True)
        assert len(workers()) == 1  # the same one for all


def test_a_recording_longer_than_the_shared_memory_comes_in_pieces(tmp_path: Path) -> None:
    seconds = 2.5 * SHARED_SAMPLES / RATE
    path = write(tmp_path / "long.wav", wave(seconds, 8_000, 1), 8_000, "WAV", "PCM_16")
    with IsolatedDecoder() as decode:
        pieces = list(decode(path, RATE))
        assert [len(piece) for piece in pieces] == [SHARED_SAMPLES, SHARED_SAMPLES, SHARED_SAMPLES // 2]
        np.testing.assert_array_equal(np.concatenate(pieces), np.concatenate(list(decode_blocks(path, RATE))))
        with pytest.raises(AudioError, match="truncated"):
            path.write_bytes(path.read_bytes()[:-1000])
            list(decode(path, RATE))


def test_a_worker_cannot_take_the_shared_memory_away() -> None:
    shared = _shared_memory()
    try:
        for length in (0, 4 * SHARED_SAMPLES + 1):
            with pytest.raises(PermissionError):
                os.ftruncate(shared, length)
    finally:
        os.close(shared)


@pytest.mark.parametrize("name", [b"bad\xff.wav", b"new\nline.wav", b"-rf.wav"])
def test_any_bytes_are_a_name(tmp_path: Path, good: Path, name: bytes) -> None:
    path = good.rename(tmp_path / os.fsdecode(name))
    with IsolatedDecoder() as decode:
        assert len(joined(decode, path)) == 6 * RATE


def test_refusals_are_those_of_this_process_and_cost_no_worker(tmp_path: Path, good: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").touch()
    write(tmp_path / "silent.wav", np.zeros((RATE, 1), np.float32), RATE, "WAV", "PCM_16")
    with IsolatedDecoder(DecodeLimits(max_seconds=5)) as decode:
        for path in (*tmp_path.iterdir(), tmp_path / "absent.wav", tmp_path):
            with pytest.raises(AudioError) as expected:
                list(decode_blocks(path, RATE, limits=DecodeLimits(max_seconds=5)))
            with pytest.raises(AudioError) as raised:
                list(decode(path, RATE))
            assert (raised.value.path, raised.value.reason) == (path, expected.value.reason)
            assert len(workers()) == 1


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("crash", "decoder stopped by signal 11"),
        ("crash_late", "decoder stopped by signal 11"),
        ("spin", "decoder stopped by signal 24, its limit of 1 s of CPU time (cpu_s)"),
        ("sleep", "decoder stopped after 1.5 s without an end (wall_s)"),
        ("trickle", "decoder stopped after 1.5 s without an end (wall_s)"),
        ("take_memory", "decoder stopped at its limit of memory (memory_bytes)"),
        ("leave", "decoder stopped with exit code 7"),
        ("nonsense", "decoder gave an answer that is none"),
        ("write", "decoder stopped by signal 25"),
        ("many_files", "decoder stopped with exit code 1"),
        ("endless", "over the limit of 600 s (max_seconds)"),
    ],
)
def test_what_ends_a_worker_is_the_error_of_one_recording(tmp_path: Path, good: Path, harm: str, told: str) -> None:
    path = shutil.copy(good, tmp_path / f"{harm}.wav")
    limits = WorkerLimits(memory_bytes=2**30, cpu_s=1, wall_s=1.5 if "wall_s" in told else 60)
    with IsolatedDecoder(DecodeLimits(max_seconds=600), limits) as decode:
        with pytest.raises(AudioError) as raised:
            for _ in decode(path, RATE):
                pass
        assert (raised.value.path, raised.value.reason) == (path, told)
        assert not (tmp_path / "written").exists() or (tmp_path / "written").stat().st_size == 0
        np.testing.assert_array_equal(joined(decode, good), np.concatenate(list(decode_blocks(good, RATE))))
        assert len(workers()) == 1


def test_a_worker_that_died_while_idle_is_replaced(good: Path) -> None:
    with IsolatedDecoder() as decode:
        whole = joined(decode, good)
        (number,) = workers()
        os.kill(int(number), signal.SIGKILL)
        os.waitid(os.P_PID, int(number), os.WEXITED | os.WNOWAIT)
        np.testing.assert_array_equal(joined(decode, good), whole)
        assert workers() != {number}


def test_a_reader_may_leave_early_and_nothing_is_left_over(tmp_path: Path, good: Path) -> None:
    long = write(tmp_path / "long.wav", wave(1.5 * SHARED_SAMPLES / RATE, 8_000, 1), 8_000, "WAV", "PCM_16")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with IsolatedDecoder() as decode:
        pieces = decode(long, RATE)
        assert len(next(pieces)) == SHARED_SAMPLES
        pieces.close()
        assert len(joined(decode, good)) == 6 * RATE
        unfinished = decode(long, RATE)
        next(unfinished)
    unfinished.close()
    assert workers() == set()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_threads_have_a_worker_each(good: Path) -> None:
    lengths = []
    with IsolatedDecoder() as decode:
        threads = [threading.Thread(target=lambda: lengths.append(len(joined(decode, good)))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert lengths == [6 * RATE] * 4
        assert 1 <= len(workers()) <= 4


def test_code_beside_the_recordings_does_not_run(tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "soundfile.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    with IsolatedDecoder() as decode:
        assert len(joined(decode, good)) == 6 * RATE
    assert not (tmp_path / "ran").exists()


def test_what_ffmpeg_reads_stays_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "song.m4a"
    path.write_bytes(b"sound")
    monkeypatch.setenv("PATH", str(tmp_path))
    with IsolatedDecoder() as decode, pytest.raises(AudioError, match="needs ffmpeg"):
        list(decode(path, RATE))
    assert workers() == set()


def test_limits_are_above_zero() -> None:
    with pytest.raises(ValueError, match="above zero"):
        WorkerLimits(cpu_s=0)
