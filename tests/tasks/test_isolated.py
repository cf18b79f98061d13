"""An index made through isolated decoders is the same index, and a crash is one file's error."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mmret.audio.isolated import IsolatedDecoder
from mmret.tasks.search import FailedFile, Index
from tests.tasks.fake_encoder import FakeEncoder, write_tone
from tests.tasks.test_search import vectors


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Tones of several lengths in a folder."""
    for number, seconds in enumerate((0.4, 2.3, 7.0)):
        write_tone(tmp_path / "sounds" / f"{number}.wav", 400 * (number + 1), seconds, seed=number)
    return tmp_path / "sounds"


def test_vectors_are_those_of_this_process(tmp_path: Path, sounds: Path) -> None:
    held = []
    with IsolatedDecoder() as decode:
        for name, way in (("plain", {}), ("isolated", {"decode": decode})):
            with Index.open(tmp_path / name, FakeEncoder()) as index:
                assert index.add(sounds, **way).added == 3
                held.append(vectors(index))
    plain, isolated = held
    assert plain.keys() == isolated.keys()
    for path, rows in plain.items():
        np.testing.assert_array_equal(rows, isolated[path])


def test_a_decoder_that_crashes_is_one_failed_file(
    tmp_path: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IsolatedDecoder, "_command", ("-m", "tests.audio.hostile_worker"))
    for name in ("crash", "crash_late"):
        shutil.copy(sounds / "2.wav", sounds / f"{name}.wav")
        with (sounds / f"{name}.wav").open("ab") as file:  # other bytes, or it would be taken for a copy
            file.write(name.encode())
    with Index.open(tmp_path / "index", FakeEncoder()) as index, IsolatedDecoder() as decode:
        report = index.add(sounds, decode=decode)
        assert report.added == 3
        failed = [
            FailedFile(sounds / f"{name}.wav", "decoder stopped by signal 11") for name in ("crash", "crash_late")
        ]
        assert report.failed == index.failures() == failed
        assert index.info().files == 3
