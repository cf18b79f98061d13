"""A run may end at any step, in any way, and goes on as if nothing had happened."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmret.errors import TrainingError
from mmret.training import Checkpoints, fit, read_log
from mmret.training.interrupt import locked_folder
from tests.conftest import ROOT
from tests.training.toy_run import CONFIG, KilledAt, ToyData, ToyObjective, toy_objective


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of 20 steps without interruption."""
    folder = tmp_path_factory.mktemp("straight")
    fit(toy_objective(), ToyData(), replace(CONFIG, output_dir=str(folder)))
    return folder


def run_until_killed(folder: Path, step: int, signal_name: str) -> int:
    """Exit code of a process that trains in `folder` and is sent a signal in its `step`-th step."""
    command = [sys.executable, "-m", "tests.training.toy_run", str(folder), str(step), signal_name]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False).returncode


def final_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the newest checkpoint."""
    checkpoint = Checkpoints(folder).latest()
    assert checkpoint is not None
    names = ("model", "optimizer", "ema")
    return {f"{name}/{key}": tensor for name in names for key, tensor in checkpoint.tensors(name).items()}


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, optimiser state, average and the logged losses are equal bit for bit."""
    first, second = final_tensors(one), final_tensors(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    losses = [[(entry["step"], entry["loss"]) for entry in read_log(run / "log.jsonl")][-1] for run in (one, other)]
    assert losses[0][0] == losses[1][0] == CONFIG.steps


def test_killed_run_goes_on_bit_for_bit(straight: Path, tmp_path: Path) -> None:
    assert run_until_killed(tmp_path, 7, "SIGKILL") == -9
    resumed = Checkpoints(tmp_path).latest()
    assert resumed is not None and resumed.step == 4  # saved every 4 steps: 7 were done, 3 are lost
    fit(toy_objective(), ToyData(), replace(CONFIG, output_dir=str(tmp_path)))
    assert_same_run(straight, tmp_path)


def test_kill_at_any_later_step_loses_at_most_the_steps_since_the_last_checkpoint(
    straight: Path, tmp_path: Path
) -> None:
    done = 0
    for step in (5, 6):  # of this process: the second goes on at step 4 and dies in step 10
        assert run_until_killed(tmp_path, step, "SIGKILL") == -9
        latest = Checkpoints(tmp_path).latest()
        assert latest is not None
        assert done + step - latest.step < CONFIG.save_every
        done = latest.step
    fit(toy_objective(), ToyData(), replace(CONFIG, output_dir=str(tmp_path)))
    assert_same_run(straight, tmp_path)


@pytest.mark.parametrize(("signal_name", "exit_code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_signal_ends_the_run_after_its_step_with_a_checkpoint(
    straight: Path, tmp_path: Path, signal_name: str, exit_code: int
) -> None:
    assert run_until_killed(tmp_path, 6, signal_name) == exit_code
    latest = Checkpoints(tmp_path).latest()
    assert latest is not None and latest.step == 7
    fit(toy_objective(), ToyData(), replace(CONFIG, output_dir=str(tmp_path)))
    assert_same_run(straight, tmp_path)


def test_a_run_tells_where_it_stopped_where_it_goes_on_and_that_it_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(CONFIG, output_dir=str(tmp_path))
    with caplog.at_level(logging.INFO, "mmret.training"):
        with pytest.raises(SystemExit):
            fit(KilledAt(6, signal.SIGINT), ToyData(), config)
        fit(toy_objective(), ToyData(), config)
    assert caplog.messages == [
        f"training starts: 20 steps in {tmp_path}",
        "training stopped at step 7 of 20 steps; the same command goes on from there",
        f"training goes on from step 7 of 20 steps in {tmp_path}",
        f"training is at its end: 20 of 20 steps, the last checkpoint is {tmp_path / 'step-00000020'}",
    ]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(TrainingError, match="cannot hold a run: Not a directory; choose another output_dir"):
        fit(toy_objective(), ToyData(), replace(CONFIG, output_dir=str(tmp_path / "file" / "run")))


def test_finished_run_returns_at_once(straight: Path) -> None:
    before = (straight / "log.jsonl").read_bytes()
    result = fit(toy_objective(), ToyData(), replace(CONFIG, output_dir=str(straight)))
    assert result.step == 20
    assert result.checkpoint.name == "step-00000020"
    assert (straight / "log.jsonl").read_bytes() == before


def test_log_of_steps_that_were_lost_is_written_once(tmp_path: Path) -> None:
    run_until_killed(tmp_path, 7, "SIGKILL")
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')  # torn by the kill
    fit(toy_objective(), ToyData(), replace(CONFIG, output_dir=str(tmp_path)))
    assert [entry["step"] for entry in read_log(tmp_path / "log.jsonl")] == [5, 10, 15, 20]


def test_checkpoint_of_another_model_is_refused(straight: Path) -> None:
    other = ToyObjective()
    other.extra = torch.nn.Linear(2, 2)
    with pytest.raises(TrainingError, match=r"another model: extra\.bias"):
        fit(other, ToyData(), replace(CONFIG, output_dir=str(straight)))


def test_other_settings_on_resumption_are_said(straight: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit(toy_objective(), ToyData(), replace(CONFIG, output_dir=str(straight), seed=9))
    assert "not the same run bit for bit" in caplog.text


def test_run_folder_belongs_to_one_process(tmp_path: Path) -> None:
    with locked_folder(tmp_path), pytest.raises(TrainingError, match="another process is training"):
        fit(toy_objective(), ToyData(), replace(CONFIG, output_dir=str(tmp_path)))
