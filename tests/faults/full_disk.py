"""Lets the disk fail from the k-th write on: python -m tests.faults.full_disk VERB ERROR STEP FOLDER, with the shim."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

from mmret.errors import MmretError
from tests.faults.scenarios import state
from tests.faults.shim import CUT, FAIL, FAIL_SHORT, SYNC, TAKES_SPACE, UNLINK, WRITE, Shim
from tests.faults.verbs import VERBS, Verb, fault_after_stop, fresh, small_steps, write_sounds

KINDS = {"ENOSPC": TAKES_SPACE, "EIO": WRITE | SYNC | CUT | UNLINK}


def main(verb: Verb, error: str, step: int, place: Path) -> dict[str, object]:
    """Fail a verb from every `step`-th call on, each time from the same state, and look at what is left."""
    shim, work, kinds = Shim(), place / "work", KINDS[error]
    write_sounds(work)
    verb.before(work)
    work.rename(place / verb.name)
    with shim.counting(fresh(verb, place, work), kinds) as counts:
        verb.run(work, lambda files: None)
    expected = state(work / verb.result)
    faults, messages = [], set()
    for at in range(1, counts[0] + 1, step):
        fresh(verb, place, work)
        told = [0]
        mode = FAIL_SHORT if at % 2 else FAIL
        try:
            with shim.failing(work, kinds, at, getattr(errno, error), mode=mode):
                verb.run(work, told.append)
        except (MmretError, OSError) as raised:
            messages.add(str(raised).replace(str(work), ""))
        except Exception as raised:
            faults.append(f"{error} from call {at} of {counts[0]} on raises {type(raised).__name__}: {raised}")
        fault = fault_after_stop(verb, work, expected, max(told))
        if fault:
            faults.append(f"{error} from call {at} of {counts[0]} on: {fault}")
    return {"calls": counts[0], "messages": sorted(messages), "faults": faults}


if __name__ == "__main__":
    small_steps()
    wanted = next(verb for verb in VERBS if verb.name == sys.argv[1])
    print(json.dumps(main(wanted, sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))))
