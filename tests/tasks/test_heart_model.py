"""The linear heart model: its file, what it refuses, and what it hears."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmret.errors import ModelFormatError
from mmret.tasks.heart_model import ABNORMAL_CLASSES, HEART_MODEL_FILE, HeartHead, HeartModel, heart_model_file
from tests.heart_sounds import heart

SIZE = 60  # of cycle_contrast
SYSTOLE_LESS_DIASTOLE = range(16, 24)


def head(**changes: object) -> HeartHead:
    """Hears louder systole as abnormal."""
    weights = tuple(1.0 if number in SYSTOLE_LESS_DIASTOLE else 0.0 for number in range(SIZE))
    values = {"mean": (0.0,) * SIZE, "deviation": (1.0,) * SIZE, "weights": weights, "bias": -8.0}
    return HeartHead(**{"features": "cycle_contrast", **values, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    HeartModel("made-up", head()).save(tmp_path / "made-up", {"data": "none"})
    return tmp_path / "made-up"


def test_a_saved_model_opens_as_it_was(folder: Path) -> None:
    opened = HeartModel.open(folder)
    assert (opened.name, opened.head) == ("made-up", head())
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


@pytest.mark.parametrize(
    "changes",
    [
        {"features": "guesswork"},
        {"mean": (0.0,)},
        {"deviation": (0.0,) * SIZE},
        {"bias": float("nan")},
    ],
)
def test_what_cannot_be_a_head_is_refused(changes: dict) -> None:
    with pytest.raises(ModelFormatError):
        head(**changes)


def test_a_head_of_another_size_than_its_features_is_refused_when_it_hears() -> None:
    small = head(mean=(0.0,), deviation=(1.0,), weights=(1.0,))
    with pytest.raises(ModelFormatError, match="has 60 numbers, the model 1"):
        small.log_odds(np.zeros((1, SIZE)))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 2, "head": {}}', '{"format": 1, "head": {"features": "x"}}', "[" * 100_000, "\xff"],
)
def test_a_damaged_file_is_refused_by_name(folder: Path, text: str) -> None:
    (folder / HEART_MODEL_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelFormatError, match=HEART_MODEL_FILE):
        HeartModel.open(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["features", "mean", "deviation", "weights", "bias"]),
    value=st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3), st.lists, max_leaves=4),
)
def test_any_other_value_opens_or_is_refused(folder: Path, name: str, value: object) -> None:
    stored = json.loads((folder / HEART_MODEL_FILE).read_text())
    stored["head"][name] = value
    changed = folder.parent / "changed"
    changed.mkdir(exist_ok=True)
    (changed / HEART_MODEL_FILE).write_text(json.dumps(stored))
    with suppress(ModelFormatError):
        assert isinstance(HeartModel.open(changed).head, HeartHead)


def test_a_file_beyond_the_budget_is_not_read(folder: Path) -> None:
    (folder / HEART_MODEL_FILE).write_bytes(b" " * (2**20 + 1))
    with pytest.raises(ModelFormatError, match="more than"):
        HeartModel.open(folder)
