"""Damages an index in many ways and asks it each time: python -m tests.faults.damage KIND COUNT SEED FOLDER.

KIND is "flips" (one byte at a time; COUNT 0: every byte of every file), "corruptions" (ranges, cuts, swaps, losses), or
"killed" (flips in an index whose writer was killed, so that its log holds the last commits and no seal covers them).
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from mmret.errors import MmretError
from mmret.index import IndexStore
from mmret.index.rows import Failed
from mmret.index.salvage import salvage
from mmret.index.search import nearest
from tests.index import made_up
from tests.index.made_up import encoded, new_store, recording, unit_rows

SALVAGE_EVERY = 25
Damage = tuple[str, bytes | None]  # what was done, and the content of the file after it


def make_index(folder: Path) -> None:
    """A few recordings, a copy, one that failed, one that was removed."""
    with closing(new_store(folder)) as store:
        with store.writer() as writer:
            for number, name in enumerate("abcde"):
                writer.commit([encoded(writer, name, unit_rows(4 + number, seed=number))])
            writer.commit([Failed(recording("f"), "empty")])
        made_up.copy(store, "g", "a")
        made_up.remove(store, ["b"])
    for side_file in ("-wal", "-shm"):
        (folder / f"index.sqlite{side_file}").unlink(missing_ok=True)


def make_killed(folder: Path) -> list[Any]:
    """An index as a killed writer leaves it; answers after each of the commits that only its log holds."""
    live = folder.with_name("live")
    make_index(live)
    with closing(IndexStore.open(live)) as store:
        answers = [answer(live)]
        with store.writer() as writer:
            for number, name in enumerate("hij"):
                writer.commit([encoded(writer, name, unit_rows(3, seed=60 + number))])
                answers.append(answer(live))
            shutil.copytree(live, folder, ignore=shutil.ignore_patterns("*-shm"))
    return answers


def answer(folder: Path) -> Any:
    """What a user gets to see of an index: hits with paths, times and scores, counts, failures."""
    with closing(IndexStore.open(folder)) as store, store.snapshot() as snapshot:
        hits = []
        for seed in (1, 40):
            matches = nearest(snapshot, unit_rows(1, seed=seed), 25)[0]
            paths = snapshot.paths_of({match.window.file for match in matches})
            hits += [
                (paths[match.window.file].hex(), match.window.start_s, match.window.stop_s, match.score)
                for match in matches
            ]
        failed = [(file.path.hex(), file.reason) for file in snapshot.files() if file.status == "failed"]
        return [hits, failed, repr(snapshot.totals()), store.meta["encoder"]]


def flips(pristine: dict[str, bytes], count: int, generator: np.random.Generator) -> Iterator[tuple[str, Damage]]:
    """One changed byte of one file; every one of them, or a sample."""
    places = [(name, place) for name, content in pristine.items() for place in range(len(content))]
    chosen = range(len(places)) if count == 0 else generator.choice(len(places), count, replace=False).tolist()
    for one in chosen:
        name, place = places[one]
        content = bytearray(pristine[name])
        content[place] ^= int(generator.integers(1, 256))
        yield name, (f"byte {place}", bytes(content))


def corruptions(pristine: dict[str, bytes], count: int, generator: np.random.Generator) -> Iterator[tuple[str, Damage]]:
    """Larger harm to one file."""
    names = [name for name, content in pristine.items() if content]
    for number in range(count):
        name = names[number % len(names)]
        harm = HARMS[int(generator.integers(0, len(HARMS)))]
        yield name, (harm.__name__, harm(pristine[name], generator))


def _zeros(content: bytes, generator: np.random.Generator) -> bytes:
    first, last = _range(content, generator)
    return content[:first] + bytes(last - first) + content[last:]


def _noise(content: bytes, generator: np.random.Generator) -> bytes:
    first, last = _range(content, generator)
    return content[:first] + generator.bytes(last - first) + content[last:]


def _cut(content: bytes, generator: np.random.Generator) -> bytes:
    return content[: int(generator.integers(0, len(content)))]


def _longer(content: bytes, generator: np.random.Generator) -> bytes:
    return content + generator.bytes(int(generator.integers(1, 5000)))


def _inserted(content: bytes, generator: np.random.Generator) -> bytes:
    place = int(generator.integers(0, len(content)))
    return content[:place] + generator.bytes(int(generator.integers(1, 40))) + content[place:]


def _swapped(content: bytes, generator: np.random.Generator) -> bytes:
    size = 4096 if len(content) >= 8192 else 32
    blocks = [content[first : first + size] for first in range(0, len(content), size)]
    one, other = generator.integers(0, len(blocks), 2).tolist()
    blocks[one], blocks[other] = blocks[other], blocks[one]
    return b"".join(blocks)


def _lost(content: bytes, generator: np.random.Generator) -> None:
    return None


def _range(content: bytes, generator: np.random.Generator) -> tuple[int, int]:
    first = int(generator.integers(0, len(content)))
    return first, min(len(content), first + int(generator.integers(1, 600)))


HARMS: tuple[Callable[[bytes, np.random.Generator], bytes | None], ...] = (
    _zeros,
    _noise,
    _cut,
    _longer,
    _inserted,
    _swapped,
    _lost,
)


def fault(folder: Path, expected: list[Any]) -> tuple[str, str | None]:
    """How an index answers: as it did ("harmless"), not at all ("refused"), or what is wrong with its answer."""
    try:
        given = answer(folder)
    except MmretError:
        return "refused", None
    except Exception as error:
        return "fault", f"{type(error).__name__}: {error}"
    return ("harmless", None) if given in expected else ("fault", "a wrong answer")


def salvage_fault(folder: Path, out: Path, whole: made_up.Contents) -> str | None:
    """What is wrong with what can be saved: it may be less, but never other than it was."""
    try:
        salvage(folder, out)
    except MmretError:
        return None
    except Exception as error:
        return f"salvage: {type(error).__name__}: {error}"
    with closing(IndexStore.open(out)) as store:
        saved = made_up.contents(store)
    shutil.rmtree(out)
    wrong = [path for path, windows in saved.items() if not set(windows) <= set(whole.get(path, []))]
    return f"salvage: wrong windows of {wrong}" if wrong else None


def main(kind: str, count: int, seed: int, place: Path) -> dict[str, Any]:
    """Damage, ask, repair, over and over."""
    folder = place / "index"
    expected = make_killed(folder) if kind == "killed" else []
    if kind != "killed":
        make_index(folder)
    pristine = {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    whole_copy = shutil.copytree(folder, place / "whole")
    expected.append(answer(whole_copy))
    with closing(IndexStore.open(whole_copy)) as store:
        whole = made_up.contents(store)
    generator = np.random.Generator(np.random.PCG64(seed))
    tally: dict[str, Any] = {"harmless": 0, "refused": 0, "fault": 0, "faults": [], "files": sorted(pristine)}
    ways = corruptions if kind == "corruptions" else flips
    for number, (name, (what, content)) in enumerate(ways(pristine, count, generator)):
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
        outcome, wrong = fault(folder, expected)
        tally[outcome] += 1
        if number % SALVAGE_EVERY == 0:
            wrong = wrong or salvage_fault(folder, place / "out", whole)
        if wrong:
            tally["faults"].append(f"{name}, {what}: {wrong}")
        for side_file in ("-wal", "-shm"):
            (folder / f"index.sqlite{side_file}").unlink(missing_ok=True)
        for one in {name, *(kept for kept in pristine if kept.endswith("-wal"))}:
            (folder / one).write_bytes(pristine[one])
    return tally


if __name__ == "__main__":
    logging.disable()
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
