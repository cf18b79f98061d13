"""Numbers as people read them, and paths as programs do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mmret.cli.printing import print_json, size


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


@pytest.mark.parametrize("name", [b"/sounds/caf\xe9.wav", "/sounds/caf\u00e9.wav".encode(), b"/sounds/\xff\xc3.wav"])
def test_a_path_in_json_leads_back_to_the_file(name: bytes, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    print_json({"path": Path(os.fsdecode(name))})
    printed = capsysbinary.readouterr().out
    assert printed.isascii()
    assert os.fsencode(json.loads(printed)["path"]) == name
