"""Mutated checkpoints and model folders give a model or an MmretError: no crash, no hang, no other error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.runner import fuzz


@pytest.mark.timeout(120)
@pytest.mark.parametrize("target", ["checkpoint", "folder"])
def test_a_sample_of_mutated_models(place: Path, target: str) -> None:
    tally = fuzz(target, 150, 1, place)
    assert tally.faults == []
    assert tally.outcomes.keys() == {"read", "refused"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", ["checkpoint", "folder"])
def test_three_thousand_mutated_models(place: Path, target: str) -> None:
    tally = fuzz(target, 3_000, 2, place)
    assert tally.faults == []
    assert tally.cases == 3_000
