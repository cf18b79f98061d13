"""Readers in other processes see whole generations, in order, whatever a writer does meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from mmret.index import IndexStore
from mmret.index.check import check
from tests.conftest import ROOT
from tests.faults.writing import write_round
from tests.index.made_up import new_store


def search_while_writing(folder: Path, readers: int, rounds: int) -> list[dict[str, Any]]:
    """Reports of readers that searched during so many rounds of writing."""
    command = [sys.executable, "-m", "tests.faults.reading", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with closing(new_store(folder)) as store, ExitStack() as stack:
        write_round(store, 1)
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(readers)
        ]
        for process in processes:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline()) == "ready"
        for number in range(2, rounds + 1):
            write_round(store, number)
        return [json.loads(process.communicate()[0]) for process in processes]


def judge(reports: list[dict[str, Any]], folder: Path, rounds: int) -> None:
    """Assert that no reader met an error, that all of them searched, and that the index is whole."""
    assert [report["faults"] for report in reports] == [[] for _ in reports]
    assert all(report["searches"] >= 2 for report in reports)
    assert all(report["last"][1] <= rounds for report in reports)
    with closing(IndexStore.open(folder)) as store:
        assert check(store).problems == []


def test_two_readers_while_a_writer_replaces_all_again_and_again(place: Path) -> None:
    judge(search_while_writing(place / "index", 2, 60), place / "index", 60)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_eight_readers_during_a_thousand_writes(place: Path) -> None:
    judge(search_while_writing(place / "index", 8, 1000), place / "index", 1000)
