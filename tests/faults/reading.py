"""Searches an index until it is told to stop: python -m tests.faults.reading FOLDER; stops at the end of its input."""

from __future__ import annotations

import json
import os
import select
import sys
from contextlib import closing
from pathlib import Path

import numpy as np

from mmret.index import IndexStore
from mmret.index.search import nearest
from tests.faults.writing import FILES, round_of
from tests.index.made_up import unit_rows


def look(store: IndexStore) -> tuple[int, int]:
    """Generation and round of what one search sees; every file must be of the same round, whole, and found once."""
    with store.snapshot() as snapshot:
        matches = nearest(snapshot, unit_rows(1), 100)[0]
        vectors = {part.segment.id: part.vectors for part in snapshot.maps}
        files = [match.window.file for match in matches]
        rounds = {round_of(vectors[match.window.segment][match.window.row]) for match in matches}
        paths = snapshot.paths_of(files)
        assert len(rounds) == 1, f"generation {snapshot.generation} holds rounds {sorted(rounds)}"
        assert sorted(paths[file] for file in files) == sorted(2 * [b"/sounds/%d" % number for number in range(FILES)])
        assert np.all(np.isfinite([match.score for match in matches]))
        return snapshot.generation, rounds.pop()


def main(folder: Path) -> dict[str, object]:
    """Search, half of the time by an index that is opened anew, until the input ends."""
    searches, last, faults = 0, (0, 0), []
    with closing(IndexStore.open(folder)) as kept:
        print(json.dumps("ready"), flush=True)
        while not select.select([sys.stdin], [], [], 0)[0]:
            try:
                if searches % 2:
                    now = look(kept)
                else:
                    with closing(IndexStore.open(folder)) as anew:
                        now = look(anew)
                assert now >= last, f"{now} after {last}"
                last = now
            except Exception as error:
                faults.append(f"{type(error).__name__}: {error}")
                if len(faults) > 3:
                    break
            searches += 1
    return {"searches": searches, "last": last, "faults": faults, "pid": os.getpid()}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
