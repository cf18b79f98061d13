"""What a writer does to an index, commit by commit, and what the index then holds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from mmret.errors import IndexFormatError
from mmret.index import IndexStore
from mmret.index.check import check
from mmret.index.compaction import compact
from mmret.index.migrations import migrate
from mmret.index.rows import Failed
from tests.index import made_up
from tests.index.made_up import DIM, encoded, new_store, recording, unit_rows
from tests.index.old_formats import write_old_index

State = dict[str, list[tuple[float, float, str]] | str]
Acknowledge = Callable[[], None]
Scenario = Callable[[Path, Acknowledge], None]


def life(folder: Path, done: Acknowledge) -> None:
    """An index is made, filled, changed, thinned, compacted, and goes on."""
    new_store(folder).close()
    done()
    with closing(_opened(folder)) as store:
        with store.writer() as writer:
            for number, name in enumerate("abcd"):
                writer.commit([encoded(writer, name, unit_rows(2 + number, seed=number))])
                done()
        made_up.copy(store, "e", "a")
        done()
    with closing(_opened(folder)) as store:
        made_up.remove(store, ["a", "c"])
        done()
        with store.writer() as writer:
            writer.commit([encoded(writer, "b", unit_rows(3, seed=20)), Failed(recording("f"), "empty")])
        done()
        compact(store)
        done()
        made_up.add(store, "g", unit_rows(2, seed=30))
        done()


def coming_of_age(folder: Path, done: Acknowledge) -> None:
    """An index of format 1 is migrated and goes on."""
    migrate(folder)
    done()
    with closing(_opened(folder)) as store:
        made_up.add(store, "g", unit_rows(2, seed=30))
        done()
        made_up.remove(store, ["a"])
        done()
        compact(store)
        done()


SCENARIOS: dict[str, Scenario] = {"life": life, "coming_of_age": coming_of_age}


def prepare(scenario: str, folder: Path) -> None:
    """What lies in `folder` before a scenario begins."""
    if scenario == "coming_of_age":
        write_old_index(folder, 1)


def expected_states(scenario: str, folder: Path) -> list[State]:
    """Contents before the scenario and after each of its commits."""
    prepare(scenario, folder)
    states: list[State] = [{} if scenario == "life" else _migrated(folder)]
    SCENARIOS[scenario](folder, lambda: states.append(state(folder)))
    return states


def state(folder: Path) -> State:
    """Windows of every file by path, and the reasons of failed ones; checksums proved, and no fault found."""
    with closing(IndexStore.open(folder)) as store:
        held: State = {
            path.decode(errors="backslashreplace"): [(start, stop, vector.hex()) for start, stop, vector in windows]
            for path, windows in made_up.contents(store).items()
        }
        with store.rows() as snapshot:
            for file in snapshot.files():
                if file.status == "failed":
                    held[file.path.decode()] = file.reason or ""
        report = check(store)
        assert report.problems == [], report.problems
    return held


def state_after_crash(folder: Path) -> State:
    """Contents of what a power cut left; nothing, where there is no index yet."""
    try:
        return state(folder)
    except IndexFormatError as error:
        if "older index format" in str(error):
            migrate(folder)
            return state(folder)
        assert "is no index" in str(error), error
        return {}


def goes_on(folder: Path, held: State) -> None:
    """Assert that the next writer finds all in order and adds to it."""
    with closing(new_store(folder)) as store:
        made_up.add(store, "next", unit_rows(1, seed=50))
        assert check(store).unused == []
    after = state(folder)
    assert {path: windows for path, windows in after.items() if path != "/sounds/next"} == held


def _opened(folder: Path) -> IndexStore:
    """The index, with vector files so small that there are several."""
    store = IndexStore.open(folder)
    store.segment_bytes = 4 * DIM * 4
    return store


def _migrated(folder: Path) -> State:
    copied = folder.with_name(f"{folder.name}-migrated")
    shutil.copytree(folder, copied)
    migrate(copied)
    return state(copied)
