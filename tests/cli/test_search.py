"""search and similar: best first, as a table or one object a line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result

from mmret.cli.search import read_together
from mmret.errors import AudioError, QueryError

Run = Callable[..., Result]


@pytest.fixture
def index(run: Run, sounds: Path, tmp_path: Path) -> Path:
    """An index of the three tones."""
    run("index", sounds, "--to", tmp_path / "index")
    return tmp_path / "index"


def rows(result: Result) -> list[dict[str, object]]:
    """Objects of the lines of stdout."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_words_find_a_recording_as_json_lines_best_first(run: Run, index: Path, sounds: Path) -> None:
    found = rows(run("search", index, "800 Hz", "-k", "2", "--json"))
    assert len(found) == 2
    assert found[0]["path"] == str(sounds / "800.wav")
    assert set(found[0]) == {"path", "start_s", "stop_s", "score", "peak_start_s", "peak_stop_s", "windows"}
    assert float(str(found[0]["score"])) > float(str(found[1]["score"]))
    assert len(rows(run("search", index, "800 Hz", "--min-score", "0.5", "--json"))) == 1


def test_a_table_shows_score_place_and_path(run: Run, index: Path, sounds: Path) -> None:
    line = run("search", index, "800 Hz").stdout.splitlines()[0]
    assert line.split()[1:] == ["0.00", "-", "2.00", "s", str(sounds / "800.wav")]


def test_a_recording_finds_itself_and_similar_finds_the_others(run: Run, index: Path, sounds: Path) -> None:
    assert rows(run("search", index, "--audio", sounds / "200.wav", "--json"))[0]["path"] == str(sounds / "200.wav")
    others = rows(run("similar", index, sounds / "200.wav", "--start", "0", "--stop", "2", "--json"))
    assert {row["path"] for row in others} == {str(sounds / "800.wav"), str(sounds / "3000.wav")}


def test_queries_from_stdin_are_answered_one_by_one(run: Run, index: Path) -> None:
    found = rows(run("search", index, "-", "-k", "1", "--json", stdin="200 Hz\n\n3000 Hz\n"))
    assert [(row["query"], Path(str(row["path"])).name) for row in found] == [
        ("200 Hz", "200.wav"),
        ("3000 Hz", "3000.wav"),
    ]


def test_the_other_end_of_a_pipe_gets_its_answer_before_it_asks_again() -> None:
    class Pipe(io.StringIO):
        def seekable(self) -> bool:
            return False

    lines = "".join(f"{number}\n" for number in range(100))
    assert [len(some) for some in read_together(Pipe(lines), [])] == [1] * 100
    assert [len(some) for some in read_together(io.StringIO(lines), [])] == [64, 36]


def test_a_line_that_is_not_utf_8_fails_alone(run: Run, index: Path) -> None:
    result = run("search", index, "-", "-k", "1", "--json", stdin=b"\xff\xfe bad\n200 Hz\n caf\xe9\n3000 Hz\n")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == ["line 1 of stdin is not UTF-8", "line 3 of stdin is not UTF-8"]
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["query"], Path(row["path"]).name) for row in found] == [("200 Hz", "200.wav"), ("3000 Hz", "3000.wav")]


def test_words_that_are_not_utf_8_are_told_as_that(run: Run, index: Path, sounds: Path) -> None:
    words = b"caf\xe9".decode(errors="surrogateescape")
    for command in (["search", index, words], ["classify", sounds, "--labels", f"dog, {words}"]):
        refused = run(*command).exception
        assert isinstance(refused, QueryError)
        assert "not UTF-8" in str(refused)


def test_words_that_the_model_does_not_know_are_told(run: Run, index: Path) -> None:
    result = run("search", index, "-", "--json", stdin="200 Hz\n猫\n")
    assert (result.exit_code, result.stderr) == (0, 'fake knows no word of "猫": what it finds is chance\n')
    assert "猫" in {json.loads(line)["query"] for line in result.stdout.splitlines()}
    assert run("search", index, "猫").stderr == result.stderr
    assert run("search", index, "200 Hz").stderr == ""


def test_words_without_quotes_are_shown_with_them(run: Run, index: Path) -> None:
    result = run("search", index, "rain", "falling", "-k", "3", "down")
    assert result.exit_code == 2
    assert 'put the words in quotes, as one query: "rain falling down"' in " ".join(result.stderr.split())
    assert run("search", index, "rain", "--nosuch").exit_code == 2


def test_a_folder_where_one_recording_is_wanted_is_told_as_that(run: Run, index: Path, sounds: Path) -> None:
    for words in (["search", index, "--audio", sounds], ["similar", index, sounds]):
        refused = run(*words).exception
        assert isinstance(refused, AudioError)
        assert f"{sounds}: a folder; " in str(refused)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["800", "--audio", "x.wav"],
        ["800", "-k", "0"],
        [" "],
        *[["800", "--min-score", score] for score in ("nan", "1.1", "-2", "inf")],
    ],
)
def test_wrong_usage_is_exit_code_2(run: Run, index: Path, words: list[str]) -> None:
    assert run("search", index, *words).exit_code == 2
    assert run("similar", index, "x.wav", "--start", "2", "--stop", "1").exit_code == 2


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person at a terminal is told; nobody looks at stderr otherwise."""
    told: list[str] = []
    monkeypatch.setattr("mmret.cli.search.sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setattr("mmret.cli.search.note", told.append)
    return told


def test_a_terminal_is_told_why_nothing_is_found(run: Run, index: Path, sounds: Path, terminal: list[str]) -> None:
    assert rows(run("search", index, "800 Hz", "--min-score", "1", "--json")) == []
    run("search", index, "800 Hz")
    assert terminal == ["nothing scores at least 1"]
    run("remove", index, sounds / "200.wav", sounds / "3000.wav")
    run("similar", index, sounds / "800.wav")
    run("remove", index, sounds)
    run("search", index, "--audio", sounds / "800.wav", "--min-score", "0.5")
    assert terminal[1:] == ["the index holds nothing else", "the index is empty"]


def test_a_program_is_told_nothing_when_nothing_is_found(run: Run, index: Path) -> None:
    result = run("search", index, "800 Hz", "--min-score", "1")
    assert (result.exit_code, result.output) == (0, "")
