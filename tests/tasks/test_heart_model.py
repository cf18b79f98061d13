"""The linear heart model: its file, what it refuses, and what it hears."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmret.errors import ModelFormatError
from mmret.heads import LinearHead
from mmret.tasks.heart_model import ABNORMAL_CLASSES, HEAD_FILE, HEART_MODEL_FILE, HeartModel, heart_model_file
from tests.heart_sounds import heart

SIZE = 60  # of cycle_contrast
SYSTOLE_LESS_DIASTOLE = range(16, 24)


def head() -> LinearHead:
    """Hears louder systole as abnormal."""
    weight = np.zeros((1, SIZE), np.float32)
    weight[0, list(SYSTOLE_LESS_DIASTOLE)] = 1
    zeros, ones = np.zeros(SIZE, np.float32), np.ones(SIZE, np.float32)
    return LinearHead(zeros, ones, weight, np.array([-8.0], np.float32), multi_label=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    HeartModel("made-up", "cycle_contrast", head()).save(tmp_path / "made-up", {"data": "none"})
    return tmp_path / "made-up"


def test_a_saved_model_opens_as_it_was(folder: Path) -> None:
    opened = HeartModel.open(folder)
    assert (opened.name, opened.features) == ("made-up", "cycle_contrast")
    np.testing.assert_array_equal(opened.head.weight, head().weight)
    assert heart_model_file(folder) == folder / HEART_MODEL_FILE
    assert heart_model_file(folder / "other") is None


def test_a_murmur_is_abnormal_and_its_absence_is_not(folder: Path) -> None:
    model = HeartModel.open(folder)
    ill, well = (model.logits(model.pieces(heart(8, murmur=level))) for level in (0.2, 0.0))
    assert ABNORMAL_CLASSES[int(ill[0].argmax())] == "Abnormal"
    assert ABNORMAL_CLASSES[int(well[0].argmax())] == "Normal"


def test_long_recordings_are_heard_in_pieces_of_ten_seconds(folder: Path) -> None:
    model = HeartModel.open(folder)
    pieces = model.pieces(heart(25))
    assert [(piece.start_s, piece.stop_s) for piece in pieces] == [(0, 10), (10, 20), (15, 25)]
    assert model.logits(pieces).shape == (3, 2)


def test_a_recording_too_short_for_beats_is_told(folder: Path) -> None:
    model = HeartModel.open(folder)
    with pytest.raises(ValueError, match="too short"):
        model.logits(model.pieces(heart(1.5)))


def test_what_cannot_be_a_heart_model_is_refused() -> None:
    with pytest.raises(ModelFormatError, match="guesswork"):
        HeartModel("made-up", "guesswork", head())
    two = LinearHead(head().mean, head().scale, np.zeros((2, SIZE), np.float32), np.zeros(2, np.float32))
    with pytest.raises(ModelFormatError, match="one number"):
        HeartModel("made-up", "cycle_contrast", two)


def test_a_head_of_another_size_than_its_features_is_refused_when_it_hears() -> None:
    model = HeartModel("made-up", "period_profile", head())
    with pytest.raises(ModelFormatError, match="90 wide, its head 60"):
        model.logits(model.pieces(heart(4)))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 2, "features": "x"}', '{"format": 1}', "[" * 100_000, "\xff"],
)
def test_a_damaged_file_is_refused_by_name(folder: Path, text: str) -> None:
    (folder / HEART_MODEL_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelFormatError, match=HEART_MODEL_FILE):
        HeartModel.open(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3), st.lists, max_leaves=4))
def test_other_features_are_refused(folder: Path, value: object) -> None:
    (folder / HEART_MODEL_FILE).write_text(json.dumps({"format": 1, "features": value}))
    with pytest.raises(ModelFormatError):
        HeartModel.open(folder)


def test_a_head_that_is_missing_or_damaged_is_refused(folder: Path) -> None:
    (folder / HEAD_FILE).write_bytes(b"PK")
    with pytest.raises(ModelFormatError, match=HEAD_FILE):
        HeartModel.open(folder)
    (folder / HEAD_FILE).unlink()
    with pytest.raises(ModelFormatError, match=HEAD_FILE):
        HeartModel.open(folder)


def test_a_file_beyond_the_budget_is_not_read(folder: Path) -> None:
    (folder / HEART_MODEL_FILE).write_bytes(b" " * (2**20 + 1))
    with pytest.raises(ModelFormatError, match="more than"):
        HeartModel.open(folder)
