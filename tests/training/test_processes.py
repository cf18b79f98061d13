"""Two processes train as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmret.training import Checkpoints, read_log
from tests.conftest import ROOT


def launch(processes: int, folder: Path, batch_size: int, steps: int = 6) -> int:
    """Exit code of a run on the CPU; one of fewer than 6 steps breaks off there."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    command += [f"--nproc_per_node={processes}"]
    command += ["-m", "tests.training.contrastive_run", str(folder), str(batch_size), str(steps)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    for _ in range(2):  # the launcher chooses a port that another program can take before the processes meet there
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if (folder / "log.jsonl").exists():
            break
        sys.stderr.write(ended.stderr)
    return ended.returncode


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of two processes with four pairs each."""
    folder = tmp_path_factory.mktemp("two")
    assert launch(2, folder, 4) == 0
    return folder


def test_losses_and_gradient_norms_equal_those_of_one_process(two_processes: Path, tmp_path: Path) -> None:
    assert launch(1, tmp_path, 8) == 0
    one, two = read_log(tmp_path / "log.jsonl"), read_log(two_processes / "log.jsonl")
    assert len(one) == len(two) == 6
    for name in ("loss", "grad_norm"):
        assert [entry[name] for entry in two] == pytest.approx([entry[name] for entry in one], rel=1e-6)


@pytest.mark.slow  # two launches
def test_two_processes_resume_bit_for_bit(two_processes: Path, tmp_path: Path) -> None:
    assert launch(2, tmp_path, 4, steps=4) != 0
    stopped = Checkpoints(tmp_path).latest()
    assert stopped is not None and stopped.step == 3
    assert launch(2, tmp_path, 4) == 0
    straight, resumed = Checkpoints(two_processes).latest(), Checkpoints(tmp_path).latest()
    assert straight is not None and resumed is not None
    for name in ("model", "optimizer"):
        expected, found = straight.tensors(name), resumed.tensors(name)
        assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
