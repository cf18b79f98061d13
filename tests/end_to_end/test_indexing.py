"""Real files through the command line: indexed once, found again, and told by name when they are no use."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmret.encoder.onnx_towers import OnnxTowers
from tests.encoder.tiny_models import sound
from tests.end_to_end.conftest import Ended

Run = Callable[..., Ended]
FORMATS = ["one.wav", "two.flac", "three.ogg", "four.mp3", "five.aiff"]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A recording in each of five formats, at several rates."""
    return write_all(tmp_path / "sounds", 2.0)


def write_all(folder: Path, seconds: float) -> Path:
    """A folder of recordings, all of one length."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(FORMATS):
        rate = (16_000, 44_100, 48_000, 44_100, 22_050)[number]
        soundfile.write(folder / name, sound(seconds, rate, seed=number), rate)
    return folder


def stored_bytes(index: Path) -> dict[str, bytes]:
    """Rows and vectors of an index, byte by byte."""
    with closing(sqlite3.connect(f"file:{index / 'index.sqlite'}?mode=ro", uri=True)) as connection:
        rows = "\n".join(connection.iterdump()).encode()
    vectors = {path.name: path.read_bytes() for path in (index / "vectors").iterdir()}
    return {"rows": rows, **vectors}


def rows(ended: Ended) -> list[dict[str, object]]:
    """Objects of the lines on stdout."""
    return [json.loads(line) for line in ended.out.splitlines()]


def test_a_second_run_encodes_nothing_and_changes_no_bit(
    mmret: Run, sounds: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = mmret("index", sounds, "--to", tmp_path / "index", "--model", model, "--json")
    assert (first.code, first.err) == (0, "")
    assert rows(first)[0]["added"] == len(FORMATS)
    before = stored_bytes(tmp_path / "index")
    assert mmret("index", sounds, "--to", tmp_path / "again", "--model", model).code == 0
    assert stored_bytes(tmp_path / "again")["000001.f32"] == before["000001.f32"]

    def not_again(*_: object) -> None:
        raise AssertionError("it was encoded already")

    monkeypatch.setattr(OnnxTowers, "audio", not_again)
    second = mmret("index", sounds, sounds / "one.wav", "--to", tmp_path / "index", "--json")
    assert second.code == 0
    assert (rows(second)[0]["added"], rows(second)[0]["skipped"]) == (0, len(FORMATS))
    assert stored_bytes(tmp_path / "index") == before


def test_every_recording_finds_itself_whatever_its_format(
    mmret: Run, sounds: Path, tmp_path: Path, model: Path
) -> None:
    write_all(sounds, 0.8)  # one window, so that the question is the very vector
    mmret("index", sounds, "--to", tmp_path / "index", "--model", model)
    for name in FORMATS:
        best = rows(mmret("search", tmp_path / "index", "--audio", sounds / name, "-k", "1", "--json"))[0]
        assert best["path"] == str(sounds / name)
        assert (best["start_s"], best["stop_s"]) == (0.0, 0.8)
        assert best["score"] == pytest.approx(1, abs=1e-5)
    assert len(rows(mmret("search", tmp_path / "index", "a dog barks", "--json"))) == len(FORMATS)


def spoil(folder: Path) -> dict[str, str]:
    """Files that are no use, each with a word of the reason."""
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("Dear diary, this is no sound.\n" * 20)
    soundfile.write(folder / "silent.flac", np.zeros(16_000), 16_000)
    soundfile.write(folder / "nan.wav", np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    for name in FORMATS:
        data = (folder / name).read_bytes()
        (folder / f"cut_{name}").write_bytes(data[: len(data) * 2 // 3])
    (folder / "loop.wav").symlink_to("loop.wav")
    return {
        "empty.wav": "empty",
        "text.wav": "not recognised",
        "silent.flac": "silent",
        "nan.wav": "NaN",
        "cut_one.wav": "truncated",
        "cut_two.flac": "cannot be decoded",
        "cut_three.ogg": "truncated",
        "cut_four.mp3": "truncated",
        "cut_five.aiff": "truncated",
        "loop.wav": "symbolic links",
    }


def test_bad_files_are_named_with_their_reasons_and_the_rest_is_indexed(
    mmret: Run, sounds: Path, tmp_path: Path, model: Path
) -> None:
    bad = spoil(sounds)
    command = ["index", sounds, sounds / "loop.wav", "--to", tmp_path / "index", "--model", model]
    ended = mmret(*command, "--json")
    assert ended.code == 1
    report = rows(ended)[0]
    assert report["added"] == len(FORMATS)
    told = {Path(line.split(": ")[0]).name: line for line in ended.err.splitlines()}
    assert set(told) == set(bad)
    for name, reason in bad.items():
        assert told[name].startswith(f"{sounds / name}: ")
        assert reason in told[name]
    failures = rows(mmret("info", tmp_path / "index", "--json"))[0]["failures"]
    assert {Path(failed["path"]).name for failed in failures} == set(bad)
    assert mmret("search", tmp_path / "index", "rain", "--json").code == 0
    assert mmret(*command).code == 1  # still no use, still told
    for name in bad:
        (sounds / name).unlink()
    assert mmret("index", sounds, "--to", tmp_path / "index").code == 0
    assert rows(mmret("info", tmp_path / "index", "--json"))[0]["failures"] == []


def test_classify_names_bad_files_too(mmret: Run, sounds: Path, model: Path) -> None:
    bad = spoil(sounds)
    ended = mmret("classify", sounds, sounds / "loop.wav", "--labels", "dog, rain", "--model", model, "--json")
    assert ended.code == 1
    assert {Path(str(row["path"])).name for row in rows(ended)} == set(FORMATS)
    for row in rows(ended):
        labels = row["labels"]
        assert isinstance(labels, list)
        assert {entry["label"] for entry in labels} == {"dog", "rain"}
        assert labels[0]["score"] >= labels[1]["score"]
    assert {Path(line.split(": ")[0]).name for line in ended.err.splitlines()} == set(bad)


def test_a_name_that_is_no_text_is_indexed_and_found(mmret: Run, sounds: Path, tmp_path: Path, model: Path) -> None:
    odd = sounds / os.fsdecode(b"odd\xff\n.wav")
    shutil.move(sounds / "one.wav", odd)
    assert mmret("index", sounds, "--to", tmp_path / "index", "--model", model).code == 0
    found = rows(mmret("search", tmp_path / "index", "--audio", odd, "-k", "1", "--json"))[0]
    assert os.fsencode(str(found["path"])) == os.fsencode(odd)
    table = mmret("search", tmp_path / "index", "--audio", odd, "-k", "1").out
    assert table.count("\n") == 1
    assert "odd\\udcff\\n.wav" in table


COMMANDS = [
    ["index", "SOUNDS", "--to", "INDEX"],
    ["search", "INDEX", "rain"],
    ["search", "INDEX", "--audio", "SOUNDS/one.wav"],
    ["similar", "INDEX", "SOUNDS/one.wav"],
]


def refused(mmret: Run, tmp_path: Path, *words: str) -> str:
    """Message of a command that cannot go on; it leaves the index as it was."""
    before = stored_bytes(tmp_path / "index")
    places = {"SOUNDS": str(tmp_path / "sounds"), "INDEX": str(tmp_path / "index")}
    ended = mmret(*(place_in(word, places) for word in words))
    assert (ended.code, ended.out) == (3, "")
    assert (ended.err.startswith("mmret: "), ended.err.count("\n")) == (True, 1)
    assert stored_bytes(tmp_path / "index") == before
    return ended.err


def place_in(word: str, places: dict[str, str]) -> str:
    """A word with its places filled in."""
    for name, path in places.items():
        word = word.replace(name, path)
    return word


@pytest.mark.parametrize("words", COMMANDS)
def test_an_index_of_another_format_is_refused_and_unharmed(
    mmret: Run, sounds: Path, tmp_path: Path, model: Path, words: list[str]
) -> None:
    mmret("index", sounds, "--to", tmp_path / "index", "--model", model)
    with closing(sqlite3.connect(tmp_path / "index" / "index.sqlite")) as connection:
        connection.execute("PRAGMA user_version=7")
    assert "format 7; this mmret reads 2" in refused(mmret, tmp_path, *words)


@pytest.mark.parametrize("words", COMMANDS)
def test_an_index_of_another_model_is_refused_and_unharmed(
    mmret: Run, sounds: Path, tmp_path: Path, model: Path, other_model: Path, words: list[str]
) -> None:
    mmret("index", sounds, "--to", tmp_path / "index", "--model", model)
    message = refused(mmret, tmp_path, *words, "--model", str(other_model))
    assert f"Open it with --model {model}" in message
    assert "mmret index PATH --to FOLDER --model MODEL" in message


def test_a_folder_without_audio_or_a_missing_one_harms_nothing(
    mmret: Run, sounds: Path, tmp_path: Path, model: Path
) -> None:
    mmret("index", sounds, "--to", tmp_path / "index", "--model", model)
    for name in FORMATS:
        (sounds / name).unlink()
    assert "holds no audio files" in refused(mmret, tmp_path, "index", "SOUNDS", "--to", "INDEX")
    sounds.rmdir()
    assert "no such file or folder" in refused(mmret, tmp_path, "index", "SOUNDS", "--to", "INDEX")
