"""eval/linear_probe.py on features of a tiny corpus."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmret.errors import MmretError

pytest.importorskip("sklearn", reason="the probe needs scikit-learn")


@pytest.fixture
def run(script, encoder, esc50, tmp_path):
    def evaluate(*arguments: str) -> dict:
        out = tmp_path / "result.json"
        script("linear_probe").main(["--data", str(esc50), "--out", str(out), *arguments])
        return json.loads(out.read_text())

    return evaluate


def _store(path: Path, esc50: Path) -> Path:
    names = sorted(file.name for file in esc50.glob("*.ogg"))
    labels = [name.split("-")[1] for name in names]
    features = np.array([[label == other for other in sorted(set(labels))] for label in labels], dtype=np.float16)
    np.savez(path, files=names, embedding=features)
    return path


def test_stored_features_are_matched_by_name(run, esc50, tmp_path) -> None:
    result = run("--features", str(_store(tmp_path / "teacher.npz", esc50)), "--strength", "1")
    assert result["metrics"] == {"accuracy": 1.0, "strength": 1.0}
    assert (result["model"], result["sizes"]) == ({"name": "teacher:embedding"}, {"train": 24, "A": 8, "dim": 4})


def test_strength_is_chosen_on_the_training_folds(run) -> None:
    result = run("--model", "any")
    assert result["metrics"]["accuracy"] == 0.875
    assert result["metrics"]["strength"] == 0.001
    assert result["model"]["name"] == "named"


def test_a_feature_file_without_all_clips_is_refused(run, tmp_path) -> None:
    np.savez(tmp_path / "few.npz", files=["dog-dog-1a.ogg"], embedding=np.zeros((1, 4)))
    with pytest.raises(MmretError, match="lacks 31 of 32 clips"):
        run("--features", str(tmp_path / "few.npz"))
