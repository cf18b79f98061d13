"""Runs cases of a target under limits, told one by one: python -m tests.fuzz.child TARGET SEED FIRST COUNT FOLDER.

Memory is bounded by RLIMIT_AS above what the process needs before its first case, CPU time by RLIMIT_CPU from case to
case, and while a case runs, no file may grow (RLIMIT_FSIZE) and none may appear beside its own.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Protocol

import numpy as np

UNLIMITED = resource.RLIM_INFINITY
TARGETS = {
    "audio": "tests.fuzz.audio:AudioTarget",
    "checkpoint": "tests.fuzz.checkpoints:CheckpointTarget",
    "folder": "tests.fuzz.folders:FolderTarget",
    "stuck": "tests.fuzz.stuck:StuckTarget",
}


class Target(Protocol):
    """What is fuzzed: `prepare` writes the files of a case, `run` opens them and says how it ended."""

    memory_bytes: int
    cpu_s: int

    def prepare(self, number: int, generator: np.random.Generator) -> str: ...

    def run(self) -> str: ...


def main(name: str, seed: int, numbers: range, place: Path) -> None:
    """Run cases one after the other."""
    logging.disable()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print is no answer
    module, _, kind = TARGETS[name].partition(":")
    target: Target = getattr(importlib.import_module(module), kind)(place)
    _warm(target, seed)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + target.memory_bytes, UNLIMITED))
    before = _open_files()
    for number in numbers:
        what = target.prepare(number, np.random.Generator(np.random.PCG64([seed, number])))
        out.write(f"begin {json.dumps(what)}\n")
        out.write(f"{_outcome(target, place)}\n")
    leaked = _open_files() - before
    if leaked > 0:
        raise RuntimeError(f"{leaked} open files more than before the first case")


def _warm(target: Target, seed: int) -> None:
    """Run a few cases first, so that what is imported or cached on first use is not counted as theirs."""
    for number in range(2**32, 2**32 + 8):
        target.prepare(number, np.random.Generator(np.random.PCG64([seed, number])))
        try:
            target.run()
        except Exception:
            traceback.print_exc()


def _outcome(target: Target, place: Path) -> str:
    """Kind, seconds and memory of a case that came to an end, and what was wrong with it."""
    files = _files(place)
    started, used_s = time.monotonic(), time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(used_s) + 1 + target.cpu_s, UNLIMITED))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, UNLIMITED))
    kind, text = "fault", ""
    try:
        kind = target.run()
    except BaseException as error:  # what is looked for
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"[:500]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))
    if not text and _files(place) != files:
        kind, text = "fault", f"files: {sorted(_files(place) ^ files)}"
    seconds = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"{kind} {seconds:.3f} {memory} {json.dumps(text)}"


def _files(place: Path) -> set[tuple[str, int]]:
    return {(str(path), path.lstat().st_size) for path in place.rglob("*")}


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    words: list[Any] = sys.argv[1:]
    first = int(words[2])
    main(words[0], int(words[1]), range(first, first + int(words[3])), Path(words[4]))
