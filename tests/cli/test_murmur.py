"""murmur score: text, JSON, plots and exit codes, with a made-up linear model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from click.testing import Result

from mmret.errors import MmretError
from mmret.tasks.heart_model import HeartModel
from mmret.tasks.murmur import NO_DEVICE
from tests.heart_sounds import heart
from tests.tasks.test_heart_model import head

Run = Callable[..., Result]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    HeartModel("made-up", "cycle_contrast", head()).save(tmp_path / "made-up", {})
    return tmp_path / "made-up"


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    folder = tmp_path / "patient"
    folder.mkdir()
    for place, level in (("AV", 0.0), ("MV", 0.2)):
        soundfile.write(folder / f"2530_{place}.wav", heart(12, rate=4000, murmur=level), 4000)
    return folder


def test_json_is_one_object_with_recordings_and_their_segments(run: Run, patient: Path, model: Path) -> None:
    result = run("murmur", "score", patient, "--model", model, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert (report["patient"], report["label"], report["decision"]) == ("2530", "Abnormal", "rule")
    assert report["notice"] == NO_DEVICE
    assert [(one["location"], one["label"]) for one in report["recordings"]] == [("AV", "Normal"), ("MV", "Abnormal")]
    segments = report["recordings"][1]["segments"]
    assert [(one["start_s"], one["stop_s"]) for one in segments] == [(0, 10), (2, 12)]
    assert all(one["probabilities"]["Abnormal"] > 0.5 for one in segments)


def test_text_says_that_it_is_no_medical_device(run: Run, patient: Path, model: Path) -> None:
    lines = run("murmur", "score", patient, "--model", model, "--decision", "average").stdout.splitlines()
    assert lines[0].startswith("2530: ") and "not a medical device" in lines[0]
    assert "2 recordings taken as one patient" in lines[0]
    assert "coronary" in lines[1] and "no heart" in lines[1]
    assert len(lines) == 4 and "MV  Abnormal" in lines[3]
    told = " ".join(run("murmur", "score", "--help").output.split())
    assert "not a medical device" in told and "coronary" in told and "no heart" in told


def test_more_recordings_than_a_patient_has_are_warned_of(
    run: Run, patient: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmret.tasks.murmur.MANY", 1)
    result = run("murmur", "score", patient, "--model", model, "--json")
    assert "2 recordings were taken as those of one patient" in result.stderr
    assert result.exit_code == 0 and "coronary" in json.loads(result.stdout)["limits"]


def test_a_recording_that_fails_is_exit_code_1(run: Run, patient: Path, model: Path) -> None:
    (patient / "2530_AV.wav").write_text("no sound")
    result = run("murmur", "score", patient, "--model", model, "--json")
    assert result.exit_code == 1
    assert "2530_AV.wav" in result.stderr
    assert json.loads(result.stdout)["failed"][0]["path"].endswith("2530_AV.wav")


def test_a_plot_is_written(run: Run, patient: Path, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = run("murmur", "score", patient, "--model", model, "--plot", tmp_path / "plots" / "scores.png")
    assert result.exit_code == 0
    assert (tmp_path / "plots" / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_another_kind_is_refused_before_anything_is_heard(run: Run, patient: Path, model: Path) -> None:
    result = run("murmur", "score", patient, "--model", model, "--plot", "scores.doc")
    assert isinstance(result.exception, MmretError) and ".png" in str(result.exception)
    assert result.stdout == ""


def test_wrong_usage_is_exit_code_2(run: Run, patient: Path) -> None:
    assert run("murmur", "score", patient, "--decision", "dice").exit_code == 2


def test_the_shipped_model_scores_without_any_option(run: Run, patient: Path) -> None:
    report = json.loads(run("murmur", "score", patient, "--json").stdout)
    assert set(report["probabilities"]) == {"Abnormal", "Normal"}
