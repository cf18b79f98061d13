"""Checkpoints are whole, verified and replaced only by durable ones."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from mmret.errors import TrainingError
from mmret.training import Checkpoints
from mmret.training import checkpoint as checkpoint_module

TENSORS = {"model": {"weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)}}


def test_saved_tensors_and_state_come_back(tmp_path: Path) -> None:
    Checkpoints(tmp_path).save(12, TENSORS, {"seed": 5})
    latest = Checkpoints(tmp_path).latest()
    assert latest is not None
    assert (latest.step, latest.state["seed"], latest.folder.name) == (12, 5, "step-00000012")
    assert torch.equal(latest.tensors("model")["weight"], TENSORS["model"]["weight"])
    assert (tmp_path / "latest").read_text() == "step-00000012\n"


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep_last=2)
    for step in (1, 2, 3):
        checkpoints.save(step, TENSORS, {})
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize("damaged", ["model.safetensors", "state.json"])
def test_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        Checkpoints(tmp_path).save(step, TENSORS, {})
    path = tmp_path / "step-00000002" / damaged
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    latest = Checkpoints(tmp_path).latest()
    assert latest is not None and latest.step == 1
    assert "step-00000002 is damaged" in caplog.text


def test_half_written_folder_is_not_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "step-00000009.tmp").mkdir(parents=True)
    assert Checkpoints(tmp_path).latest() is None
    assert Checkpoints(tmp_path / "absent").latest() is None


def test_non_finite_weights_are_never_written(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="model: weight holds values that are not finite"):
        Checkpoints(tmp_path).save(1, {"model": {"weight": torch.tensor([1.0, torch.inf])}}, {})
    assert not list(tmp_path.glob("step-*"))


def test_full_disk_leaves_the_older_checkpoint_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Checkpoints(tmp_path).save(1, TENSORS, {})

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "save_file", no_space)
    with pytest.raises(OSError, match="No space"):
        Checkpoints(tmp_path).save(2, TENSORS, {})
    latest = Checkpoints(tmp_path).latest()
    assert latest is not None and latest.step == 1
    assert not list(tmp_path.glob("*.tmp"))
