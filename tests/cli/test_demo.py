"""demo: the sample recordings are indexed and searched; every one of them may be shipped and is named."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from mmret.audio.decode import decode
from mmret.cli import demo
from tests.conftest import ROOT
from tests.tasks.fake_encoder import write_tone

Run = Callable[..., Result]

FREE_LICENCES = {"CC0-1.0", "CC-BY-3.0", "CC-BY-SA-3.0"}


def table() -> list[dict[str, str]]:
    """Rows of samples.csv."""
    with (demo.SAMPLES / "samples.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def samples(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three tones in place of the shipped recordings."""
    monkeypatch.setattr(demo, "SAMPLES", sounds)
    monkeypatch.setattr(demo, "QUERIES", ("200 Hz", "3000 Hz"))
    return sounds


def test_queries_and_their_hits_are_shown(run: Run, samples: Path) -> None:
    result = run("demo")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("3 recordings (0:00:06) indexed with ")
    hit = lines[lines.index('"3000 Hz"') + 1].split()
    assert hit[1:] == ["0.0", "-", "2.0", "s", "3000.wav"]
    assert any("mmret search indexes/sounds " in line for line in lines)


def test_json_is_one_hit_a_line_with_its_query(run: Run, samples: Path) -> None:
    rows = [json.loads(line) for line in run("demo", "--json").stdout.splitlines()]
    assert len(rows) == 2 * demo.HITS
    assert rows[0]["query"] == "200 Hz"
    assert rows[0]["path"] == str(samples / "200.wav")
    assert {"start_s", "stop_s", "score"} <= set(rows[0])


@pytest.mark.parametrize(("in_venv", "program"), [(True, ".venv/bin/mmret"), (False, "{python} -m mmret")])
def test_the_next_step_is_shown_as_it_can_be_called(
    run: Run, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_venv: bool, program: str
) -> None:
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    if in_venv:
        (binaries / "mmret").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(binaries / "python"))
    monkeypatch.setenv("PATH", os.devnull)
    assert f"  {program.format(python=sys.executable)} index FOLDER --to indexes/sounds\n" in run("demo").stdout
    monkeypatch.setenv("PATH", str(binaries))
    if in_venv:
        assert "  mmret index FOLDER --to indexes/sounds\n" in run("demo").stdout


def test_an_index_that_is_kept_is_used_again_beside_other_recordings(run: Run, samples: Path, tmp_path: Path) -> None:
    other = write_tone(tmp_path / "other" / "201.wav", 201, seed=9)
    assert run("index", other, "--to", tmp_path / "index").exit_code == 0
    assert run("demo", "--to", tmp_path / "index").exit_code == 0
    again = run("demo", "--to", tmp_path / "index")
    assert again.exit_code == 0
    assert again.stdout.startswith("3 recordings indexed with mmret-mini before\n")
    assert str(other) in again.stdout
    assert f"mmret search {tmp_path / 'index'}" in again.stdout


def test_a_few_new_samples_are_told_beside_those_that_were_there(run: Run, samples: Path, tmp_path: Path) -> None:
    run("demo", "--to", tmp_path / "index")
    write_tone(samples / "500.wav", 500, seed=9)
    again = run("demo", "--to", tmp_path / "index")
    assert again.stdout.startswith("1 recording (0:00:02) indexed with mmret-mini, 3 more were there\n")


def test_a_sample_that_cannot_be_read_is_told(run: Run, samples: Path) -> None:
    (samples / "text.ogg").write_text("no sound")
    result = run("demo")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{samples / 'text.ogg'}: ")


def test_an_installation_without_samples_says_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SAMPLES", tmp_path / "missing")
    assert "install mmret again" in str(run("demo").exception)


def test_every_sample_is_in_the_table_and_in_notice_with_a_free_licence() -> None:
    rows = table()
    assert [row["file"] for row in rows] == sorted(path.name for path in demo.SAMPLES.glob("*.ogg"))
    assert 24 <= len(rows) <= 40
    notice = " ".join((ROOT / "NOTICE").read_text(encoding="utf-8").split())
    for row in rows:
        assert row["licence"] in FREE_LICENCES
        assert all(row.values()), row
        assert f"{row['file']}: {row['title']}; by {row['author']}; {row['source']}" in notice
    for licence in FREE_LICENCES:
        assert f"{licence}: " in notice


def test_samples_are_short_small_and_can_be_decoded() -> None:
    paths = sorted(demo.SAMPLES.glob("*.ogg"))
    assert sum(path.stat().st_size for path in paths) <= 3_000_000
    for path in paths:
        assert 0.2 < len(decode(path, 16_000)) / 16_000 <= 6, path
