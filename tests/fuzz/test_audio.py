"""Mutated recordings give samples or an AudioError: no crash, no hang, no other error, no memory over the budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.audio import seeds
from tests.fuzz.runner import fuzz


def test_there_is_a_seed_for_every_format() -> None:
    formats = {name.partition(".")[0] for name in seeds()}
    assert formats >= {"AIFF", "AU", "CAF", "FLAC", "MP3", "OGG", "RF64", "W64", "WAV", "WAVEX"}
    assert len(seeds()) > 80


@pytest.mark.timeout(120)
def test_a_sample_of_mutated_recordings(place: Path) -> None:
    tally = fuzz("audio", 400, 1, place)
    assert tally.faults == []
    assert tally.outcomes.keys() == {"read", "refused"}
    assert min(tally.outcomes.values()) > 50  # neither is a wall that nothing passes


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_thousand_mutated_recordings(place: Path) -> None:
    tally = fuzz("audio", 20_000, 2, place)
    assert tally.faults == []
    assert tally.cases == 20_000
