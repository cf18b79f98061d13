"""Numbers as people read them."""

from __future__ import annotations

import pytest

from mmret.cli.printing import size


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (56_832, "55.5 KiB"),
        (2**20, "1.0 MiB"),
        (5 * 2**29, "2.5 GiB"),
        (2**42, "4096.0 GiB"),
    ],
)
def test_a_size_is_told_in_the_largest_unit_of_which_there_is_one(number: int, told: str) -> None:
    assert size(number) == told
