"""Runs the cases of a target in child processes with limits, and names those that end or stop one.

The case of a seed and a number is always the same: `python -m tests.fuzz.child TARGET SEED FIRST COUNT FOLDER`.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.conftest import ROOT

WALL_S = 60.0  # from one answer of a child to the next; the CPU limit of a target is shorter
START_WALL_S = 240.0
TAIL_BYTES = 2000


@dataclass
class Tally:
    """How the cases ended, and what was wrong with some."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    most_memory_bytes: int = 0

    @property
    def cases(self) -> int:
        """Number of cases that ran."""
        return self.outcomes.total()

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "cases": self.cases,
            **self.outcomes,
            "slowest_s": self.slowest,
            "most_memory_mib": self.most_memory_bytes >> 20,
            "faults": self.faults,
        }


def fuzz(target: str, count: int, seed: int, place: Path) -> Tally:
    """Run cases 0 to count; a new child goes on after a case that ended the old one."""
    tally = Tally()
    number = 0
    while number < count:
        reached = _run_child(target, seed, range(number, count), place, tally)
        if reached < number:
            raise RuntimeError(f"the child of {target} does not start: {tally.faults[-1]}")
        number = reached + 1
    return tally


def _run_child(target: str, seed: int, numbers: range, place: Path, tally: Tally) -> int:
    """Run cases in one child until it ends; the last case that it began, or one before the first."""
    words = [target, str(seed), str(numbers.start), str(len(numbers)), str(place)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    log = place.with_name(f"{place.name}.log")
    with (
        log.open("wb+") as messages,
        subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.child", *words],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=messages,
        ) as child,
    ):
        assert child.stdout is not None
        running, begun, hung = numbers.start - 1, "its start", False
        while True:
            line = _line(child.stdout, START_WALL_S if running < numbers.start else WALL_S)
            if line is None:
                hung = True
                child.kill()
                break
            if not line:
                break
            kind, _, text = line.partition(" ")
            if kind == "begin":
                running, begun = running + 1, text
            else:
                _count(tally, f"case {running} ({begun})", kind, text)
        code = child.wait()
        if hung or code:
            name = "hang" if hung else "crash"
            told = "no answer in time" if hung else signal.Signals(-code).name if code < 0 else f"exit code {code}"
            messages.seek(max(0, messages.tell() - TAIL_BYTES))
            tally.outcomes[name] += 1
            tail = "" if hung else messages.read().decode(errors="replace")[-TAIL_BYTES:]
            tally.faults.append(f"case {running} ({begun}): {told} {tail}".rstrip())
    log.unlink()
    return running


def _count(tally: Tally, case: str, outcome: str, text: str) -> None:
    seconds, memory, *rest = text.split(" ", 2)
    tally.outcomes[outcome] += 1
    tally.slowest = max(tally.slowest, (float(seconds), case))
    tally.most_memory_bytes = max(tally.most_memory_bytes, int(memory))
    if outcome == "fault":
        tally.faults.append(f"{case}: {' '.join(rest)}")


def _line(stream: IO[bytes], wall_s: float) -> str | None:
    """Next line of a child; empty at its end, None when it does not come in time."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        line = b""
        while not line.endswith(b"\n"):
            if not selector.select(wall_s):
                return None
            byte = os.read(stream.fileno(), 1)
            if not byte:
                return ""
            line += byte
    return line.decode(errors="replace").rstrip("\n")
