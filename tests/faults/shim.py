"""The shim that counts, records, fails or ends a process at its calls to the file system, built when it is needed."""

from __future__ import annotations

import ctypes
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

SOURCE = Path(__file__).with_name("shim.c")
OFF, COUNT, FAIL, FAIL_SHORT, KILL = range(5)
CREATE, WRITE, CUT, SYNC, RENAME, UNLINK, MKDIR, NOTE = (1 << bit for bit in range(8))
ALL = 127
TAKES_SPACE = CREATE | WRITE | RENAME | MKDIR


@functools.cache
def built() -> Path:
    """The shim as a library; skips the test where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler on Linux: cc or gcc")
    library = Path(tempfile.mkdtemp(prefix="mmret-shim-")) / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def run_under_shim(module: str, *words: str | Path) -> Any:
    """What `python -m tests.faults.MODULE` prints as JSON, with the shim loaded before libc."""
    return run_module(module, *words, LD_PRELOAD=str(built()))


def run_module(module: str, *words: str | Path, **variables: str) -> Any:
    """What `python -m tests.faults.MODULE` prints as JSON; in a process of its own, as it may crash."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-m", f"tests.faults.{module}", *map(str, words)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, (ended.returncode, ended.stderr[-4000:])
    return json.loads(ended.stdout)


class Shim:
    """The shim of this process, which `run_under_shim` loaded."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.shim_stop.restype = ctypes.c_long

    @contextmanager
    def counting(self, folder: Path, kinds: int) -> Iterator[list[int]]:
        """Count calls of some kinds below a folder; the list holds their number when the block ends."""
        counts: list[int] = []
        self._start(folder, COUNT, kinds)
        try:
            yield counts
        finally:
            counts.append(self._library.shim_stop())

    @contextmanager
    def failing(self, folder: Path, kinds: int, at: int, error: int, *, mode: int = FAIL) -> Iterator[None]:
        """From the call number `at` of some kinds on, fail all of them."""
        self._start(folder, mode, kinds, at, error)
        try:
            yield
        finally:
            self._library.shim_stop()

    def kill_at(self, folder: Path, at: int) -> None:
        """End this process by SIGKILL before the call number `at`."""
        self._start(folder, KILL, ALL, at)

    @contextmanager
    def recording(self, folder: Path, log: Path) -> Iterator[None]:
        """Write every call below a folder into a file, for replay.read_log."""
        with log.open("wb", buffering=0) as file:
            self._start(folder, COUNT, ALL, log=file.fileno())
            try:
                yield
            finally:
                self._library.shim_stop()

    def note(self, text: str) -> None:
        """Record a moment by name."""
        self._library.shim_note(text.encode())

    def _start(self, folder: Path, mode: int, kinds: int, at: int = 0, error: int = 0, *, log: int = -1) -> None:
        arguments = (mode, kinds, ctypes.c_long(at), error, log)
        self._library.shim_start(os.fsencode(folder), *arguments)
