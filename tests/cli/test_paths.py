"""Paths on the command line: an empty one is a variable that was not set, never the current folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from click.testing import Result

from mmret.cli import app
from mmret.cli.paths import typed_path
from mmret.errors import MmretError
from mmret.tasks.recordings import absolute

Run = Callable[..., Result]


def verbs(typed: typer.Typer) -> Iterator[Callable[..., Any]]:
    """Functions of all verbs, those of groups among them."""
    for command in typed.registered_commands:
        assert command.callback is not None
        yield command.callback
    for group in typed.registered_groups:
        assert group.typer_instance is not None
        yield from verbs(group.typer_instance)


def path_parameters() -> dict[str, Any]:
    """What typer is told about every parameter that takes a path, by verb and name."""
    found = {}
    for verb in verbs(app):
        for name, hint in get_type_hints(verb, include_extras=True).items():
            kind, *told = get_args(hint) or (hint,)
            if told and Path in (kind, *get_args(kind)):
                found[f"{verb.__name__} {name}"] = told[0]
    return found


def test_every_path_of_every_verb_is_refused_where_it_is_empty() -> None:
    parameters = path_parameters()
    assert {"remove paths", "index paths", "index to", "similar file", "score folder", "export out"} <= set(parameters)
    # a file that must not be a folder is refused by typer itself, in the same way
    open_to_all = {name for name, told in parameters.items() if told.dir_okay and told.parser is not typed_path}
    assert open_to_all == set()


@pytest.mark.parametrize("words", [["remove", "{index}", ""], ["index", "", "--to", "{index}"], ["info", ""]])
def test_an_empty_path_changes_nothing_and_is_exit_code_2(
    run: Run, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    index = tmp_path / "index"
    run("index", sounds, "--to", index)
    monkeypatch.chdir(sounds)
    result = run(*[word.format(index=index) for word in words])
    assert result.exit_code == 2
    assert "the path is empty" in result.stderr
    assert '"files": 3' in run("info", index, "--json").stdout


def test_from_python_an_empty_path_is_refused_too() -> None:
    with pytest.raises(MmretError, match="the path is empty"):
        absolute("")
    assert absolute(".") == Path.cwd()
