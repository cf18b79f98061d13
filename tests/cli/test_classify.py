"""classify: labels best first, as a table or one object a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from mmret.cli.classify import DEFAULT_PROMPT, parse_labels
from mmret.errors import MmretError
from mmret.metrics.prompts import DEFAULT_TEMPLATE

Run = Callable[..., Result]


def test_json_is_one_object_a_line_with_labels_best_first(run: Run, sounds: Path) -> None:
    result = run("classify", sounds, sounds / "200.wav", "--labels", "200 Hz, 800 Hz, 3000 Hz", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["path"] for row in rows] == [str(sounds / name) for name in ("200.wav", "3000.wav", "800.wav")]
    for row in rows:
        assert set(row) == {"path", "labels"}
        assert [set(one) for one in row["labels"]] == [{"label", "score"}] * 3
        scores = [one["score"] for one in row["labels"]]
        assert scores == sorted(scores, reverse=True)
        assert row["labels"][0]["label"] == f"{Path(row['path']).stem} Hz"


def test_a_table_names_the_recording_and_its_labels(run: Run, sounds: Path) -> None:
    lines = run("classify", sounds / "800.wav", "--labels", "200 Hz,800 Hz").stdout.splitlines()
    assert lines[0] == str(sounds / "800.wav")
    assert [line.split(maxsplit=1)[1] for line in lines[1:]] == ["800 Hz", "200 Hz"]


def test_a_relative_path_stays_as_it_was_typed(run: Run, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sounds)
    result = run("classify", "800.wav", ".", "--labels", "800 Hz", "--json")
    assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == ["800.wav", "200.wav", "3000.wav"]


def test_a_file_that_fails_is_told_and_the_rest_is_classified(run: Run, sounds: Path) -> None:
    (sounds / "500.wav").write_text("no sound")
    result = run("classify", sounds, "--labels", "800 Hz", "--json")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{sounds / '500.wav'}: ")
    assert len(result.stdout.splitlines()) == 3


def test_the_prompt_makes_the_sentence(run: Run, sounds: Path) -> None:
    words = ("classify", sounds / "800.wav", "--labels", "800,200", "--json")
    assert json.loads(run(*words, "--prompt", "{label} Hz").stdout)["labels"][0]["label"] == "800"
    refused = run(*words, "--prompt", "no place for it")
    assert (refused.exit_code, "{label}" in refused.output) == (2, True)
    assert DEFAULT_PROMPT == DEFAULT_TEMPLATE


@pytest.mark.parametrize("options", [[], ["--labels", " , "], ["--labels", "a", "--runtime", "abacus"]])
def test_wrong_usage_is_exit_code_2(run: Run, sounds: Path, options: list[str]) -> None:
    assert run("classify", sounds, *options).exit_code == 2


def test_a_path_that_does_not_exist_stops_before_a_model_is_loaded(run: Run, tmp_path: Path) -> None:
    result = run("classify", tmp_path / "missing.wav", "--labels", "rain")
    assert isinstance(result.exception, MmretError)
    assert "missing.wav" in str(result.exception)


def test_each_label_counts_once() -> None:
    assert parse_labels("dog, sea waves,,dog ,") == ["dog", "sea waves"]
