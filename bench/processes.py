"""The command line as a user starts it, and what it took: CPU time, wall time, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Ended:
    """What a command printed and took; `others` is the share of this machine's CPU time that other work took."""

    output: str
    cpu_s: float
    wall_s: float
    peak_bytes: int
    others: float


def mmret(*words: str | Path) -> Ended:
    """Run an mmret command to its end; CalledProcessError unless it ended well."""
    command = [sys.executable, "-m", "mmret.cli", *map(str, words)]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        busy_s, started_s = _busy_s(), time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s, cpu_s = time.monotonic() - started_s, usage.ru_utime + usage.ru_stime
        others = (_busy_s() - busy_s - cpu_s) / (wall_s * (os.cpu_count() or 1))
        for file in (output, errors):
            file.seek(0)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command, output.read(), errors.read())
        return Ended(output.read(), cpu_s, wall_s, 1024 * usage.ru_maxrss, max(0.0, others))


@contextmanager
def on_cores(cores: int) -> Iterator[None]:
    """Let this process, and those that it starts, run on so many of the cores that it may run on, a thread each."""
    allowed = os.sched_getaffinity(0)
    before = {name: os.environ.get(name) for name in THREADS}
    os.sched_setaffinity(0, sorted(allowed)[:cores])
    os.environ.update(dict.fromkeys(THREADS, str(cores)))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _busy_s() -> float:
    """CPU seconds that all of this machine has worked since it started; what a host took from it counts, too."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
