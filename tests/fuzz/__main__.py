"""Fuzzes at full size and prints the counts: python -m tests.fuzz TARGET [COUNT [SEED]].

TARGET is audio, checkpoint or folder; exit code 1 if a case crashed, hung, took too much or raised another error.
For damaged indexes see tests/faults/damage.py.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.fuzz.runner import fuzz

FULL = {"audio": 20_000, "checkpoint": 3_000, "folder": 3_000}
SEED = 10


def main(target: str, count: int, seed: int) -> int:
    """Run, print, say whether all was well."""
    memory = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="mmret-fuzz-", dir=memory if memory.is_dir() else None))
    try:
        tally = fuzz(target, count, seed, place)
    finally:
        shutil.rmtree(place)
    print(json.dumps({"target": target, "seed": seed, **tally.as_dict()}, indent=1))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    wanted, *numbers = sys.argv[1:]
    sys.exit(main(wanted, *map(int, numbers or [FULL[wanted]]), *([SEED] if len(numbers) < 2 else [])))
