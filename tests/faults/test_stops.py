"""Killed at any moment or out of space at any write: nothing told is lost, and a second run ends as planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.shim import run_under_shim
from tests.faults.verbs import VERBS

verbs = pytest.mark.parametrize("verb", [verb.name for verb in VERBS])


@verbs
def test_killed_at_a_few_moments(verb: str, place: Path) -> None:
    result = run_under_shim("kill", verb, "8", "1", place)
    assert result["faults"] == []
    assert result["killed"] == 8


@pytest.mark.slow
@pytest.mark.timeout(900)
@verbs
def test_killed_at_200_moments(verb: str, place: Path) -> None:
    result = run_under_shim("kill", verb, "200", "2", place)
    assert result["faults"] == []
    assert result["killed"] == 200


@verbs
def test_a_disk_that_fills_up_at_some_writes(verb: str, place: Path) -> None:
    result = run_under_shim("full_disk", verb, "ENOSPC", "11", place)
    assert result["faults"] == []
    assert any("space" in message or "full" in message for message in result["messages"])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@verbs
def test_a_disk_that_fills_up_or_fails_at_every_write(verb: str, error: str, place: Path) -> None:
    result = run_under_shim("full_disk", verb, error, "1", place)
    assert result["faults"] == []
