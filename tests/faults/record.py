"""Runs a scenario under the shim and records its calls: python -m tests.faults.record SCENARIO FOLDER LOG."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.faults.scenarios import SCENARIOS
from tests.faults.shim import Shim

if __name__ == "__main__":
    scenario, folder, log = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    shim = Shim()
    with shim.recording(folder, log):
        SCENARIOS[scenario](folder, lambda: shim.note("done"))
    print(json.dumps("recorded"))
