"""Whatever part of the unsynced writes a power cut takes, the index holds all that was acknowledged, whole."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tests.faults.replay import Call, Disk, read_log, write_folder
from tests.faults.scenarios import SCENARIOS, State, expected_states, goes_on, prepare, state_after_crash
from tests.faults.shim import SYNC, run_under_shim


@dataclass
class Result:
    """How many different states were opened, and what was wrong with which."""

    cuts: int = 0
    states: int = 0
    bad: list[str] = field(default_factory=list)


def recorded(scenario: str, place: Path) -> tuple[list[Call], Disk, list[State]]:
    """Calls of a scenario, the disk before them, and what the index may hold."""
    folder = place / "recorded"
    prepare(scenario, folder)
    disk = Disk(folder)
    run_under_shim("record", scenario, folder, place / "log")
    return read_log(place / "log", folder), disk, expected_states(scenario, place / "expected")


def replay(
    scenario: str, place: Path, variants: int, *, share: float = 1.0, without: tuple[str, ...] = (), stop_at: int = 0
) -> Result:
    """Open what each of a share of the cuts can leave; `without` leaves out the syncs of names that begin so."""
    calls, disk, expected = recorded(scenario, place)
    generator = np.random.Generator(np.random.PCG64(1))
    result, seen = Result(), set()
    for number, call in enumerate([*calls, Call(0, "")]):
        result.cuts += 1
        for contents in disk.left_behind(generator, variants if generator.random() < share else 0):
            key = (disk.acknowledged, _digest(contents))
            if key in seen or (not contents and not disk.acknowledged):
                continue
            seen.add(key)
            result.states += 1
            fault = _fault(place / "cut", contents, expected[disk.acknowledged :][:2])
            if fault:
                result.bad.append(f"cut {number} of {len(calls)}, {disk.acknowledged} acknowledged: {fault}")
        if stop_at and len(result.bad) >= stop_at:
            break
        if call.kind and not (call.kind == SYNC and without and call.path.startswith(without)):
            disk.do(call)
    assert disk.acknowledged == len(expected) - 1 or stop_at
    return result


def _digest(contents: dict[str, bytes | None]) -> bytes:
    hashed = hashlib.sha1()
    for name, content in sorted(contents.items()):
        hashed.update(f"{name} {None if content is None else len(content)}\n".encode() + (content or b""))
    return hashed.digest()


def _fault(folder: Path, contents: dict[str, bytes | None], allowed: list[State]) -> str | None:
    """What is wrong with one state of the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    write_folder(folder, contents)
    try:
        held = state_after_crash(folder)
        if held not in allowed:
            return f"holds {sorted(held)}, not {[sorted(state) for state in allowed]}"
        goes_on(folder, held)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_cuts_here_and_there_lose_nothing_that_was_acknowledged(place: Path, scenario: str) -> None:
    result = replay(scenario, place, 6, share=0.25)
    assert result.bad == []
    assert result.states > 50


@pytest.mark.slow
@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_no_cut_in_ten_variants_loses_what_was_acknowledged(place: Path, scenario: str) -> None:
    result = replay(scenario, place, 10)
    assert result.bad == []
    assert result.states > 500


@pytest.mark.parametrize("without", [("vectors",), ("index.sqlite-wal",), ("",)])
def test_the_same_calls_without_their_syncs_are_found_to_lose_something(place: Path, without: tuple[str, ...]) -> None:
    assert replay("life", place, 4, share=0.5, without=without, stop_at=1).bad
