"""Damaged bytes are refused or change nothing: no crash, no other error, no wrong answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.shim import run_module


def test_a_sample_of_flipped_bytes(place: Path) -> None:
    tally = run_module("damage", "flips", "400", "1", place)
    assert tally["faults"] == []
    assert tally["refused"] > 350
    assert tally["files"] == ["LOCK", "index.seal", "index.sqlite", "vectors/000001.f32"]


def test_a_sample_of_corruptions(place: Path) -> None:
    tally = run_module("damage", "corruptions", "400", "2", place)
    assert tally["faults"] == []
    assert tally["refused"] > 200


def test_flipped_bytes_after_a_writer_was_killed_give_a_committed_state_or_an_error(place: Path) -> None:
    tally = run_module("damage", "killed", "800", "5", place)
    assert tally["faults"] == []
    assert "index.sqlite-wal" in tally["files"]
    assert tally["refused"] > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_flipped_byte(place: Path) -> None:
    tally = run_module("damage", "flips", "0", "3", place)
    assert tally["faults"] == []
    assert tally["refused"] + tally["harmless"] > 50_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_corruptions(place: Path) -> None:
    tally = run_module("damage", "corruptions", "10000", "4", place)
    assert tally["faults"] == []
