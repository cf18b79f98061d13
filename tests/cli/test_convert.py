"""convert: a published checkpoint becomes a folder that AutoModel opens and --model takes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from mmret.encoder import Encoder
from mmret.errors import MissingExtra, ModelFormatError
from mmret.models.m2d import M2DConfig, M2DModel

Run = Callable[..., Result]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny encoder saved the way M2D's authors do, under a name of theirs."""
    config = M2DConfig(input_size=(80, 96), patch_size=(16, 16), embed_dim=32, depth=1, num_heads=2)
    folder = tmp_path / "m2d_vit_tiny-80x96p16x16-240101"
    folder.mkdir()
    torch.save({"model": M2DModel(config).state_dict()}, folder / "checkpoint-1.pth")
    return folder / "checkpoint-1.pth"


def test_a_checkpoint_becomes_a_folder_quietly(checkpoint: Path, tmp_path: Path) -> None:
    words = ["convert", str(checkpoint), str(tmp_path / "out"), "--heads", "2", "--json"]
    ended = subprocess.run(
        [sys.executable, "-m", "mmret.cli", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout) == {"checkpoint": str(checkpoint), "model": str(tmp_path / "out")}
    encoder = Encoder.from_pretrained(tmp_path / "out")
    assert (encoder.runtime, encoder.sample_rate, encoder.dim) == ("torch", 16_000, 160)


def test_the_rate_can_be_given_and_the_next_command_is_shown(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    result = run("convert", checkpoint, tmp_path / "out", "--heads", "2", "--sample-rate", "32000")
    assert f"--model {tmp_path / 'out'}" in result.stdout
    assert json.loads((tmp_path / "out" / "config.json").read_text())["sample_rate"] == 32_000


def test_what_is_no_checkpoint_leaves_no_folder(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("no weights")
    for wrong in (tmp_path / "text.pth", tmp_path / "missing.pth", checkpoint):
        result = run("convert", wrong, tmp_path / "out")  # the checkpoint is 32 wide: its heads must be told
        assert isinstance(result.exception, ModelFormatError)
        assert wrong.name in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_not_touched(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert isinstance(run("convert", checkpoint, tmp_path / "out", "--heads", "2").exception, ModelFormatError)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("options", [["--heads", "0"], ["--sample-rate", "1"]])
def test_wrong_usage_is_exit_code_2(run: Run, checkpoint: Path, tmp_path: Path, options: list[str]) -> None:
    assert run("convert", checkpoint, tmp_path / "out", *options).exit_code == 2


def test_a_light_installation_is_told_what_to_install(
    run: Run, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    result = run("convert", checkpoint, tmp_path / "out")
    assert isinstance(result.exception, MissingExtra)
    assert 'pip install "mmret[models]"' in str(result.exception)
