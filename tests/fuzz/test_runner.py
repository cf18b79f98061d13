"""The fuzzer notices what it is for: a crash, a hang, memory, an escaping error, a file that was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.mutations import MUTATIONS, mutated
from tests.fuzz.runner import fuzz


@pytest.mark.timeout(120)
def test_each_kind_of_harm_is_named_and_the_run_goes_on(place: Path) -> None:
    tally = fuzz("stuck", 9, 1, place)
    assert tally.cases == 9
    assert tally.outcomes == {"read": 3, "crash": 2, "fault": 4}
    crash, hang, *faults = tally.faults
    assert "case 1" in crash and "SIGSEGV" in crash
    assert "case 2" in hang and "SIGXCPU" in hang
    for fault, told in zip(faults, ["MemoryError", "KeyError: 'escaped'", "File too large", "made"], strict=True):
        assert told in fault


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_mutation_takes_the_shortest_input(mutation) -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    for data in (b"a", b"ab", b"abcdefghij" * 100):
        for _ in range(50):
            assert isinstance(mutation(data, generator), bytes)


def test_the_same_generator_gives_the_same_damage() -> None:
    first, second = (
        [mutated(b"abcdefgh" * 40, np.random.Generator(np.random.PCG64([1, number]))) for number in range(50)]
        for _ in range(2)
    )
    assert first == second
    assert len({data for _, data in first}) > 40
