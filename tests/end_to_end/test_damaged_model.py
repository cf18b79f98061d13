"""A damaged model folder is told once and costs no recording its place in the index."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from mmret.encoder.manifest import AUDIO_GRAPH, TEXT_WEIGHTS, WEIGHTS
from mmret.tasks.search import Index
from tests.encoder import tiny_models
from tests.encoder.tiny_models import sound
from tests.end_to_end.conftest import Ended

Run = Callable[..., Ended]


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(model, tmp_path / "model"))


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two short recordings."""
    for number in range(2):
        write(tmp_path / "sounds" / f"{number}.wav", seed=number)
    return tmp_path / "sounds"


def write(path: Path, *, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, sound(1.5, 16_000, seed=seed), 16_000)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("damaged", [AUDIO_GRAPH, WEIGHTS])
def test_a_new_index_is_not_made(mmret: Run, folder: Path, sounds: Path, tmp_path: Path, damaged: str) -> None:
    truncate(folder / damaged)
    ended = mmret("index", sounds, "--to", tmp_path / "index", "--model", folder)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.count(damaged) == 1
    assert "0.wav" not in ended.err
    assert not (tmp_path / "index").exists()


def test_a_changed_recording_keeps_its_old_windows(mmret: Run, folder: Path, sounds: Path, tmp_path: Path) -> None:
    assert mmret("index", sounds, "--to", tmp_path / "index", "--model", folder).code == 0
    truncate(folder / AUDIO_GRAPH)
    assert mmret("index", sounds, "--to", tmp_path / "index").code == 0  # nothing to encode, nothing to miss
    write(sounds / "0.wav", seed=7)
    assert mmret("index", sounds, "--to", tmp_path / "index").code == 3
    with Index.open(tmp_path / "index", None) as index:
        assert (index.info().files, index.info().failed) == (2, 0)


@pytest.mark.parametrize("verb", [("classify", "--labels", "dog,rain"), ("embed", "-o", "vectors.npz")])
def test_verbs_without_an_index_end_too(
    mmret: Run, folder: Path, sounds: Path, tmp_path: Path, verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    truncate(folder / AUDIO_GRAPH)
    ended = mmret(verb[0], sounds, *verb[1:], "--model", folder)
    assert (ended.code, ended.out, ended.err.count(AUDIO_GRAPH)) == (3, "", 1)


def test_recordings_are_indexed_without_the_weights_of_the_text_tower(
    mmret: Run, sounds: Path, tmp_path: Path, int8: Path
) -> None:
    truncate(int8 / TEXT_WEIGHTS)
    assert mmret("index", sounds, "--to", tmp_path / "index", "--model", int8).code == 0
    ended = mmret("search", tmp_path / "index", "rain")
    assert (ended.code, TEXT_WEIGHTS in ended.err) == (3, True)


@pytest.fixture
def int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny model in int8, for which few recordings calibrate."""
    from mmret.encoder import export, quantise

    monkeypatch.setattr(export, "sample_recordings", lambda: quantise.sample_recordings()[::12])
    monkeypatch.setattr(quantise, "SMALLEST_COSINE", 0.99)
    return export.export_folder(tiny_models.conv_clap(tmp_path / "source"), tmp_path / "int8", precision="int8")
