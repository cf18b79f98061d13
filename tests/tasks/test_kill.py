"""kill -9 at any moment of indexing: what was told as done is there, and a second run ends where one would have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmret.tasks.search import Index
from tests.index import made_up
from tests.tasks.fake_encoder import FakeEncoder, write_tone

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = 24


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short files, and a few long ones among them."""
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(FILES):
        write_tone(folder / f"{number:02d}.wav", 100 + 97 * number, 8.0 if number % 5 == 4 else 0.8, seed=number)
    return folder


def contents(folder: Path) -> made_up.Contents:
    """Windows and vector bits of every file."""
    with Index.open(folder, FakeEncoder()) as index:
        return made_up.contents(index._store)


def add_and_kill(index: Path, sounds: Path, lines: int) -> int:
    """Start adding, kill after `lines` lines of output, and give the number of files it said were safe."""
    command = [sys.executable, "-m", "tests.tasks.adding_process", str(index), str(sounds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [line for _, line in zip(range(lines), process.stdout, strict=False)]
        process.kill()
        told += process.stdout.readlines()
    return max((int(line) for line in told if line.strip().isdigit()), default=0)


def test_a_killed_run_keeps_what_it_told_and_a_second_one_finishes_it(tmp_path: Path, sounds: Path) -> None:
    with Index.open(tmp_path / "undisturbed", FakeEncoder()) as index:
        index.add(sounds)
    expected = contents(tmp_path / "undisturbed")
    for kill, lines in enumerate(np.random.Generator(np.random.PCG64(7)).integers(1, 9, 5).tolist()):
        killed = tmp_path / str(kill)
        safe = add_and_kill(killed, sounds, lines)
        with Index.open(killed, FakeEncoder()) as index:
            assert index.check().problems == []
            assert index.info().files >= safe
            report = index.add(sounds)
            assert report.skipped >= safe
            assert report.added + report.skipped == FILES
            assert index.check().problems == []
        assert contents(killed) == expected
