"""Zero-shot classification with the fake encoder, whose words are frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mmret.errors import MmretError, ModelFormatError
from mmret.tasks.classify import Classification, FailedFile, classify, classify_each, find_files
from tests.tasks.fake_encoder import FakeEncoder, write_tone


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two tones and a file that is none."""
    write_tone(tmp_path / "sounds" / "high" / "3000.wav", 3000, seed=1)
    write_tone(tmp_path / "sounds" / "200.wav", 200)
    (tmp_path / "sounds" / "text.wav").write_text("no sound")
    return tmp_path / "sounds"


def test_every_recording_gets_all_labels_best_first(sounds: Path) -> None:
    report = classify(FakeEncoder(), [sounds], ["800", "200", "3000"], prompt="{label} Hz")
    best = {result.path.name: result.labels[0].label for result in report.results}
    assert best == {"200.wav": "200", "3000.wav": "3000"}
    for result in report.results:
        scores = [one.score for one in result.labels]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 3 and scores[-1] >= -1 and scores[0] <= 1


def test_what_cannot_be_used_is_listed_with_its_reason(sounds: Path) -> None:
    report = classify(FakeEncoder(), [sounds], ["200 Hz"])
    assert [failed.path for failed in report.failed] == [sounds / "text.wav"]
    assert report.failed[0].reason
    assert len(report.results) == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(5, "Input/output error"), "Input/output error"),
        (ModelFormatError("fake gave no vector"), "fake gave no vector"),
    ],
)
def test_a_failing_disk_or_vector_spoils_one_recording_only(sounds: Path, error: Exception, reason: str) -> None:
    class Failing(FakeEncoder):
        def encode_audio(self, clips: Sequence[Any]) -> Any:
            if Path(clips[0]).name == "200.wav":
                raise error
            return super().encode_audio(clips)

    report = classify(Failing(), [sounds / "200.wav", sounds / "high"], ["3000 Hz"])
    assert report.failed == [FailedFile(sounds / "200.wav", reason)]
    assert [result.path.name for result in report.results] == ["3000.wav"]


def test_equal_scores_stay_in_the_order_of_the_labels(sounds: Path) -> None:
    report = classify(FakeEncoder(), [sounds / "200.wav"], ["3000", "3001", "3002"], prompt="{label} Hz")
    assert [one.label for one in report.results[0].labels] == ["3000", "3001", "3002"]


def test_outcomes_come_one_by_one_and_failures_pass_through(sounds: Path) -> None:
    failed = FailedFile(sounds / "locked", "cannot be read")
    outcomes = classify_each(FakeEncoder(), [failed, sounds / "200.wav"], ["200 Hz"])
    assert next(outcomes) == failed
    assert isinstance(next(outcomes), Classification)


def test_a_file_named_twice_is_found_once(sounds: Path) -> None:
    found = find_files([sounds, sounds / "200.wav", sounds / "high"])
    assert found == [sounds / "200.wav", sounds / "text.wav", sounds / "high" / "3000.wav"]


def test_no_labels_and_no_recordings_are_errors(sounds: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one label"):
        classify(FakeEncoder(), [sounds], [])
    with pytest.raises(ValueError, match="label"):
        classify(FakeEncoder(), [sounds], ["rain"], prompt="nothing")
    (tmp_path / "none").mkdir()
    with pytest.raises(MmretError, match="holds no audio"):
        classify(FakeEncoder(), [tmp_path / "none"], ["rain"])
