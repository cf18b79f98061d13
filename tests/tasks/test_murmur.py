"""Scoring of a patient: pieces, recordings, decisions, ensembles and what can go wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from mmret.audio.segments import Segment, WindowConfig, iter_segments
from mmret.errors import MmretError, ModelFormatError
from mmret.metrics.murmur import MURMUR_CLASSES
from mmret.tasks.murmur import open_murmur_model, score_patient
from tests.heart_sounds import heart


class ByLoudness:
    """Hears loud pieces as Present, quiet ones as Absent."""

    name, classes, sample_rate, piece_s = "by loudness", MURMUR_CLASSES, 2000, 2.0

    def __init__(self, certainty: float = 1.0) -> None:
        self.certainty = certainty

    def pieces(self, waveform: NDArray[np.float32]) -> list[Segment]:
        return list(iter_segments([waveform], self.sample_rate, WindowConfig(2.0, 2.0)))

    def logits(self, pieces: list[Segment]) -> NDArray[np.float64]:
        loud = np.array([np.abs(piece.waveform).max() > 0.15 for piece in pieces])
        rows = np.where(loud[:, None], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0])
        return rows * self.certainty


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """One loud recording of two."""
    folder = tmp_path / "visit"
    folder.mkdir()
    for place, level in (("AV", 1.0), ("MV", 0.2)):
        soundfile.write(folder / f"2530_{place}.wav", level * heart(5), 2000)
    return folder


def test_one_recording_decides_by_the_rule(patient: Path) -> None:
    report = score_patient([ByLoudness()], patient)
    assert (report.patient, report.label, report.decision) == ("2530", "Present", "rule")
    assert [(one.location, one.label) for one in report.recordings] == [("AV", "Present"), ("MV", "Absent")]
    assert [(piece.start_s, piece.stop_s) for piece in report.recordings[0].pieces] == [(0, 2), (2, 4), (3, 5)]
    assert sum(report.probabilities.values()) == pytest.approx(1)
    assert report.recordings[0].pieces[0].probabilities["Present"] == pytest.approx(np.e / (np.e + 2))


def test_the_average_decides_over_all(patient: Path) -> None:
    soundfile.write(patient / "2530_PV.wav", 0.2 * heart(5), 2000)
    assert score_patient([ByLoudness()], patient, decision="average").label == "Absent"
    assert score_patient([ByLoudness()], patient, decision="rule").label == "Present"


def test_several_models_count_by_their_mean_probability(patient: Path) -> None:
    single = [score_patient([model], patient).recordings[0] for model in (ByLoudness(1), ByLoudness(3))]
    both = score_patient([ByLoudness(1), ByLoudness(3)], patient).recordings[0]
    for name in MURMUR_CLASSES:
        expected = np.mean([one.probabilities[name] for one in single])
        assert both.probabilities[name] == pytest.approx(expected)


def test_models_that_disagree_about_classes_are_refused(patient: Path) -> None:
    other = ByLoudness()
    other.classes = ("Abnormal", "Normal")
    with pytest.raises(ModelFormatError, match="must agree"):
        score_patient([ByLoudness(), other], patient)


def test_a_folder_of_two_patients_is_refused(patient: Path) -> None:
    soundfile.write(patient / "9979_AV.wav", heart(5), 2000)
    with pytest.raises(MmretError, match=r"2 patients \(2530, 9979\)"):
        score_patient([ByLoudness()], patient)


def test_other_names_make_the_folder_the_patient(tmp_path: Path) -> None:
    (tmp_path / "jane").mkdir()
    soundfile.write(tmp_path / "jane" / "left side.wav", heart(5), 2000)
    report = score_patient([ByLoudness()], tmp_path / "jane")
    assert (report.patient, report.recordings[0].location) == ("jane", "")


def test_a_damaged_recording_is_told_and_the_others_decide(patient: Path) -> None:
    (patient / "2530_AV.wav").write_text("no sound")
    report = score_patient([ByLoudness()], patient)
    assert report.label == "Absent"
    assert [file.path.name for file in report.failed] == ["2530_AV.wav"]


def test_nothing_usable_stops_with_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "2530_AV.wav").write_text("no sound")
    with pytest.raises(MmretError, match=r"not one of 1 recordings can be used; .*2530_AV\.wav"):
        score_patient([ByLoudness()], tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "org/model"])
def test_what_is_no_model_is_told_without_the_network(name: str) -> None:
    with pytest.raises(ModelFormatError, match=r"train/murmur\.py"):
        open_murmur_model(name)
