"""From a folder of recordings to an index that is searched by sound, as the README tells it."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmret.cli import app
from mmret.data.log_mel_folder import open_log_mels
from tests.conftest import ROOT
from tests.train.test_pretraining_recipes import tiny

SOUNDS = ("cat", "cow", "rain", "thunder")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Four of the sample recordings and a file that is none."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in SOUNDS:
        shutil.copy(ROOT / "mmret" / "samples" / f"{name}.ogg", folder)
    (folder / "notes.wav").write_text("no sound")
    return folder


def test_own_recordings_become_a_model_that_finds_them(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.syspath_prepend(str(ROOT / "train"))
    run = tmp_path / "run"
    words = [ROOT / "train" / "configs" / "m2d_x_mini.yaml", "--data-dir", recordings, "--output-dir", run]
    words += [*tiny("model"), "--steps", "2", "--batch-size", "2", "--precision", "no"]
    words += ["--background-dir", recordings, "--data.noise_ratio", "0.3"]
    monkeypatch.setattr(sys, "argv", ["m2d_x.py", *map(str, words)])
    importlib.import_module("m2d_x").main()
    assert "notes.wav" in capsys.readouterr().err
    assert list(open_log_mels(run / "log_mels").names) == [f"{name}.ogg.npy" for name in SOUNDS]

    indexed = CliRunner().invoke(
        app, ["index", str(recordings), "--to", str(tmp_path / "index"), "--model", str(run / "model")]
    )
    assert indexed.exit_code == 1 and "4 added" in indexed.stdout  # the file that is no recording is named
    query = ["search", str(tmp_path / "index"), "--audio", str(recordings / "cow.ogg"), "-k", "1", "--json"]
    found = CliRunner().invoke(app, query)
    assert found.exit_code == 0, found.output
    hit = json.loads(found.stdout.splitlines()[0])
    assert Path(hit["path"]).name == "cow.ogg"
    assert hit["score"] == pytest.approx(1.0, abs=1e-3)
