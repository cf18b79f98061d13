"""The command line as a user starts it, and what it took: CPU time, wall time, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_IDLE, _WAITING = 3, 4  # columns of /proc/stat


@dataclass(frozen=True)
class Ended:
    """What a command printed and took; `others` is the share of its cores' time that other work took."""

    output: str
    cpu_s: float
    wall_s: float
    peak_bytes: int
    others: float


# A small process starts the command: the system counts the memory of whoever starts one as its own, up to its start.
_LAUNCHER = """
import json, os, sys, time
started_s = time.monotonic()
_, status, usage = os.wait4(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ), 0)
took = usage.ru_utime + usage.ru_stime, time.monotonic() - started_s, 1024 * usage.ru_maxrss
with open(int(sys.argv[1]), "w") as told:
    json.dump([os.waitstatus_to_exitcode(status), *took], told)
"""


def mmret(*words: str | Path) -> Ended:
    """Run an mmret command to its end; CalledProcessError unless it ended well."""
    command = [sys.executable, "-m", "mmret.cli", *map(str, words)]
    with (
        tempfile.TemporaryFile("w+") as output,
        tempfile.TemporaryFile("w+") as errors,
        tempfile.TemporaryFile() as told,
    ):
        launcher = [sys.executable, "-S", "-c", _LAUNCHER, str(told.fileno()), *command]
        busy_s = _busy_s()
        subprocess.run(launcher, stdout=output, stderr=errors, pass_fds=(told.fileno(),), check=True)
        busy_s = _busy_s() - busy_s
        for file in (output, errors, told):
            file.seek(0)
        exit_code, cpu_s, wall_s, peak_bytes = json.load(told)
        if exit_code:
            raise subprocess.CalledProcessError(exit_code, command, output.read(), errors.read())
        others = (busy_s - cpu_s) / (wall_s * len(os.sched_getaffinity(0)))
        return Ended(output.read(), cpu_s, wall_s, peak_bytes, max(0.0, others))


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
    """CPU seconds that the cores of this process have worked since the start; what a host took from them counts."""
    cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    ticks = [[int(cell) for cell in line[1:9]] for line in lines if line[0] in cores]
    busy = sum(sum(core) - core[_IDLE] - core[_WAITING] for core in ticks)
    return busy / os.sysconf("SC_CLK_TCK")
