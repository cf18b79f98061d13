"""Folders of trained classifiers: what they hold, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mmret.encoder
from mmret.errors import EncoderMismatch, ModelFormatError
from mmret.heads import LinearHead
from mmret.tasks.classifier import (
    FILE_NAME,
    HEAD_NAME,
    Facts,
    is_classifier,
    new_folder,
    open_classifier,
    read_facts,
    save_head,
)
from tests.tasks.fake_encoder import BANDS, FakeEncoder, write_tone

FACTS = Facts("head", ["high", "low"], {"model": "fake", "fingerprint": "f" * 64, "runtime": "auto"}, 0.0, {})


def head(classes: int = 2) -> LinearHead:
    weight = np.zeros((classes, BANDS), np.float32)
    weight[0, BANDS // 2 :], weight[1, : BANDS // 2] = 9, 9
    return LinearHead(np.zeros(BANDS, np.float32), np.ones(BANDS, np.float32), weight, np.zeros(classes, np.float32))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Which models and runtimes were asked for; "gone" cannot be opened."""
    asked: list[tuple[str, str]] = []

    def from_pretrained(model: str, *, runtime: str) -> FakeEncoder:
        asked.append((model, runtime))
        if model == "gone":
            raise ModelFormatError("no model called 'gone'")
        return FakeEncoder()

    monkeypatch.setattr(mmret.encoder, "Encoder", SimpleNamespace(from_pretrained=from_pretrained))
    return asked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_head(tmp_path / "own", head(), FACTS)
    return tmp_path / "own"


def test_a_head_gives_probabilities_of_its_labels(folder: Path, opened: list[object], tmp_path: Path) -> None:
    assert is_classifier(folder) and not is_classifier(tmp_path)
    classifier = open_classifier(folder)
    assert (opened, classifier.labels) == ([("fake", "auto")], ["high", "low"])
    found = [classifier.probabilities(write_tone(tmp_path / f"{hz}.wav", hz)) for hz in (3000, 100)]
    assert [row.argmax() for row in found] == [0, 1]
    np.testing.assert_allclose([row.sum() for row in found], 1.0, rtol=1e-6)


def test_a_copy_of_the_encoder_inside_is_opened(folder: Path, opened: list[tuple[str, str]]) -> None:
    (folder / "encoder").mkdir()
    open_classifier(folder, runtime="torch")
    assert opened == [(str(folder / "encoder"), "torch")]


def test_the_runtime_that_the_features_need_is_asked_for(tmp_path: Path, opened: list[tuple[str, str]]) -> None:
    save_head(tmp_path / "own", head(), Facts("head", ["a", "b"], {**FACTS.encoder, "runtime": "torch"}, 0.0, {}))
    open_classifier(tmp_path / "own")
    assert opened == [("fake", "torch")]


def _edited(folder: Path, **changes: object) -> None:
    path = folder / FILE_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"encoder": {"model": "fake", "fingerprint": "0" * 64}}, EncoderMismatch, "learnt on another model"),
        ({"encoder": {"model": "gone", "fingerprint": "0" * 64}}, ModelFormatError, "Put it back, or put a copy"),
        ({"labels": ["a", "b", "c"]}, ModelFormatError, "takes 24 numbers for 2 labels"),
        ({"format": 2}, ModelFormatError, "format 2; this mmret reads 1"),
        ({"kind": "forest"}, ModelFormatError, "kind 'forest'"),
        ({"labels": ["a"]}, ModelFormatError, "two names at least"),
        ({"labels": [1, 2]}, ModelFormatError, "two names at least"),
        ({"encoder": {}}, ModelFormatError, "the encoder is not named"),
        ({"unit_s": 1e9}, ModelFormatError, "unit_s"),
    ],
)
@pytest.mark.usefixtures("opened")
def test_a_folder_that_does_not_fit_is_refused(
    folder: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    _edited(folder, **changes)
    with pytest.raises(error, match=message):
        open_classifier(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "\xff", "[" * 100_000])
def test_damaged_facts_are_refused(folder: Path, text: str) -> None:
    (folder / FILE_NAME).write_text(text, encoding="latin-1")
    with pytest.raises(ModelFormatError, match="does not describe a classifier"):
        read_facts(folder)


@pytest.mark.usefixtures("opened")
def test_a_missing_head_is_told(folder: Path) -> None:
    (folder / HEAD_NAME).unlink()
    with pytest.raises(ModelFormatError, match=r"head.npz is no head of mmret"):
        open_classifier(folder)


def _fails(folder: Path) -> None:
    with new_folder(folder) as scratch:
        (scratch / "half").touch()
        raise OSError("disk full")


@pytest.mark.parametrize("write", [_fails, lambda path: save_head(path.parent, head(), FACTS)])
def test_nothing_is_half_written_or_overwritten(write: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises((OSError, ModelFormatError)):
        write(tmp_path / "new")
    assert not list(tmp_path.iterdir())
