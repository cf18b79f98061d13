"""A script ends as the command does: one line and an exit code for what a user can act on."""

from __future__ import annotations

import ast
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmret.cli import script
from mmret.cli.script import run_script
from mmret.errors import MmretError
from tests.conftest import ROOT

SCRIPTS = sorted(path for folder in ("train", "train/mini", "eval") for path in (ROOT / folder).glob("*.py"))


@pytest.fixture(autouse=True)
def library_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leaves the logger of the library as it was."""
    monkeypatch.delenv("RANK", raising=False)
    logger = logging.getLogger("mmret")
    before = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.level, logger.propagate, logger.handlers[:] = before


def failing(error: BaseException) -> Callable[[], None]:
    """A main function that raises."""

    def main() -> None:
        raise error

    return main


def code_of(main: Callable[[], int | None]) -> object:
    """How a script leaves."""
    with pytest.raises(SystemExit) as ended:
        run_script(main)
    return ended.value.code


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MmretError("no corpus\x1b[1m"), "mmret: no corpus\\x1b[1m\n"),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), "mmret: x.csv: no such file or directory\n"),
        (OSError("We cannot\nconnect"), "mmret: We cannot connect\n"),
    ],
)
def test_a_fault_is_one_line(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(failing(error)) == 3
    assert capsys.readouterr() == ("", line)


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_script(failing(ZeroDivisionError()))


def test_the_codes_of_main_and_of_an_interruption_are_kept() -> None:
    assert code_of(lambda: None) is None
    assert code_of(lambda: 1) == 1
    assert code_of(failing(KeyboardInterrupt())) == 130


def test_another_process_than_the_first_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(script, "HEAD_START_S", 0.0)
    assert code_of(failing(MmretError("no corpus"))) == 3
    assert capsys.readouterr() == ("", "")


def test_what_the_library_logs_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(lambda: logging.getLogger("mmret.training.fit").info("step %d", 3)) is None
    assert capsys.readouterr().err == "mmret: step 3\n"


def test_every_script_ends_so() -> None:
    bodies = {path: ast.parse(path.read_text(encoding="utf-8")).body[-1] for path in SCRIPTS}
    mains = {path: ast.unparse(body) for path, body in bodies.items() if isinstance(body, ast.If)}
    assert len(mains) >= 20
    assert {path.name: text for path, text in mains.items() if "run_script(main)" not in text} == {}


def test_a_missing_folder_is_one_line_of_a_script(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train/prepare_log_mels.py"), str(tmp_path / "none"), str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        3,
        f"mmret: {tmp_path / 'none'}: no such folder; give one of recordings\n",
    )
