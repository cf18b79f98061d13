"""Kills verbs at random moments: python -m tests.faults.kill VERB KILLS SEED FOLDER, under the shim."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from tests.faults.scenarios import state
from tests.faults.shim import ALL, Shim
from tests.faults.verbs import VERBS, Verb, fault_after_stop, fresh, small_steps, write_sounds


def tell(pipe: int, files: int) -> None:
    """Say how many files are safe."""
    os.write(pipe, b"%d\n" % files)


def run_and_kill(shim: Shim, verb: Verb, folder: Path, at: int) -> tuple[int, bool]:
    """Run a verb in a child that is killed before its call number `at`; what it told, and whether it was killed."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        shim.kill_at(folder, at)
        verb.run(folder, lambda files: tell(write_end, files))
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as told:
        lines = told.read().split()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, status
    return max(map(int, lines), default=0), os.WIFSIGNALED(status)


def main(verb: Verb, kills: int, seed: int, place: Path) -> dict[str, object]:
    """Kill a verb at random calls, each time from the same state, and look at what is left."""
    shim, work = Shim(), place / "work"
    write_sounds(work)
    verb.before(work)
    work.rename(place / verb.name)
    with shim.counting(fresh(verb, place, work), ALL) as counts:
        verb.run(work, lambda files: None)
    expected = state(work / verb.result)
    moments = np.random.Generator(np.random.PCG64(seed)).integers(1, counts[0] + 1, kills)
    faults, killed = [], 0
    for moment in moments.tolist():
        told, was_killed = run_and_kill(shim, verb, fresh(verb, place, work), moment)
        killed += was_killed
        fault = fault_after_stop(verb, work, expected, told)
        if fault:
            faults.append(f"killed at call {moment} of {counts[0]}: {fault}")
    return {"calls": counts[0], "killed": killed, "faults": faults}


if __name__ == "__main__":
    small_steps()
    wanted = next(verb for verb in VERBS if verb.name == sys.argv[1])
    print(json.dumps(main(wanted, int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
