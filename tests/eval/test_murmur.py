"""eval/murmur.py on a made-up CirCor and a model that knows the answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmret.audio.segments import Segment
from mmret.errors import MmretError
from mmret.metrics.murmur import MURMUR_CLASSES
from tests.heart_sounds import write_circor

LABELS = ("Absent", "Present", "Unknown")


class ByNoise:
    """Knows the made-up recordings by their noise between the sounds."""

    name, classes, sample_rate, piece_s = "by noise", MURMUR_CLASSES, 4000, 5.0

    def pieces(self, waveform: np.ndarray) -> list[Segment]:
        return [Segment(0.0, 5.0, waveform)]

    def logits(self, pieces: list[Segment]) -> np.ndarray:
        time = np.arange(len(pieces[0].waveform)) / 4000 % 0.8
        level = pieces[0].waveform[(time > 0.15) & (time < 0.28)].std() / 0.3
        return 9.0 * np.eye(3)[[0 if level > 0.15 else 1 if level > 0.02 else 2]]


@pytest.fixture
def circor(tmp_path: Path) -> Path:
    return write_circor(tmp_path / "circor", {str(1000 + n): LABELS[n % 3] for n in range(12)})


def test_a_model_that_knows_scores_everything(script, circor, tmp_path, monkeypatch, capsys) -> None:
    murmur = script("murmur")
    monkeypatch.setattr(murmur, "open_murmur_model", lambda name: ByNoise())
    words = ["--data", str(circor), "--split", "0", "--out", str(tmp_path / "murmur.json")]
    murmur.main([*words, "--model", "one", "--model", "two"])
    result = json.loads((tmp_path / "murmur.json").read_text())
    assert result["metrics"]["weighted_accuracy"] == result["metrics"]["uar"] == 1
    assert result["metrics"]["average"]["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert result["sizes"] == {"A": 4, "patients": 3}
    assert result["protocol"]["label"] == "by noise + by noise"
    assert "weighted accuracy 1.000" in capsys.readouterr().out


def test_a_class_without_patients_is_null_in_the_file(script, tmp_path, circor) -> None:
    murmur = script("murmur")
    present = [one for one in murmur.read_circor(circor) if one.murmur != "Unknown"]
    metrics = murmur.evaluate([ByNoise()], present)["metrics"]
    assert metrics["uar"] is None and metrics["recall"][1] is None
    assert metrics["weighted_accuracy"] == 1


def test_a_model_of_other_classes_is_refused(script, circor, monkeypatch) -> None:
    murmur = script("murmur")
    other = ByNoise()
    other.classes = ("Abnormal", "Normal")
    monkeypatch.setattr(murmur, "open_murmur_model", lambda name: other)
    with pytest.raises(MmretError, match=r"train/murmur\.py"):
        murmur.main(["--data", str(circor), "--split", "0", "--model", "one"])
