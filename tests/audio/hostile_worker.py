"""A worker whose decoder does what the name of the recording says, as a flaw in a decoder might."""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from mmret.audio.decode import Samples
from mmret.audio.isolated_worker import decoded, main
from mmret.audio.worker_protocol import Request


def decode(request: Request) -> Iterator[Samples]:
    """Crash, stop, leave, take memory, talk nonsense, write a file; or decode."""
    harm = Path(os.fsdecode(request.path)).stem
    yield from HARMS.get(harm, lambda: iter(()))() or ()
    yield from decoded(request)


def _answers() -> int:
    """Descriptor of the pipe to the reader."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - iterdir would open one more
        with suppress(OSError):
            if int(name) > 2 and stat.S_ISFIFO(os.fstat(int(name)).st_mode):
                return int(name)
    raise AssertionError("no pipe")


def _crash() -> None:
    ctypes.string_at(0)


def _crash_late() -> Iterator[Samples]:
    for _ in range(3):
        yield np.ones(1_000, np.float32)
    ctypes.string_at(0)


def _spin() -> None:
    while True:
        pass


def _sleep() -> None:
    time.sleep(1_000)


def _trickle() -> None:
    """Begin an answer that comes byte by byte."""
    os.write(_answers(), b"F\xff\xff\x00\x00")
    answers = _answers()
    while True:
        os.write(answers, b"x")
        time.sleep(0.02)


def _endless() -> Iterator[Samples]:
    while True:
        yield np.ones(2**20, np.float32)


def _take_memory() -> None:
    bytearray(2**31)


def _leave() -> None:
    os._exit(7)


def _nonsense() -> None:
    os.write(_answers(), b"\x80\x04_pickle?")
    time.sleep(1_000)


def _write() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    (Path(os.environ["MMRET_TEST_PLACE"]) / "written").write_bytes(b"x")


def _many_files() -> None:
    held = [Path(os.devnull).open() for _ in range(40)]  # noqa: SIM115
    del held


HARMS = {
    "crash": _crash,
    "crash_late": _crash_late,
    "spin": _spin,
    "sleep": _sleep,
    "trickle": _trickle,
    "endless": _endless,
    "take_memory": _take_memory,
    "leave": _leave,
    "nonsense": _nonsense,
    "write": _write,
    "many_files": _many_files,
}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]), decode=decode)
