"""The command as a process: what it loads, how it ends, and what it says to mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mmret import __version__
from mmret.cli import INDEX_FORMAT, main
from mmret.cli.index import DEFAULT_MODEL
from mmret.index.schema import FORMAT
from tests.conftest import ROOT
from tests.tasks.fake_encoder import write_tone

HEAVY = {"numpy", "torch", "faiss", "onnxruntime", "transformers", "tokenizers", "soundfile", "soxr", "sqlite3"}


def mmret(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "mmret.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["search", "--help"], []])
def test_help_and_version_load_nothing_heavy(words: list[str]) -> None:
    code = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: sys.stderr.write(json.dumps(sorted(sys.modules))))\n"
        f"sys.argv = ['mmret', *{words!r}]\n"
        "from mmret.cli import main\n"
        "main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0
    assert not HEAVY & set(json.loads(ended.stderr))


def test_version_names_the_model_and_the_index_format() -> None:
    assert mmret("--version").stdout == f"mmret {__version__} (model {DEFAULT_MODEL}, index format {FORMAT})\n"
    assert INDEX_FORMAT == FORMAT


def test_mmret_alone_shows_three_examples() -> None:
    ended = mmret()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("  mmret ")] == [
        "demo",
        "index",
        "search",
    ]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nosuch"], 2, "nosuch"),
        (["index", "x.wav"], 2, "--to"),
        (["index", "missing", "--to", "index"], 3, "missing: no such file or folder"),
        (["search", "nowhere", "rain"], 3, "no index"),
        (["classify", ".", "--labels", "rain", "--model", "nosuch"], 3, "no model called"),
        (["info", "nowhere"], 3, "no index"),
        (["convert", "missing.pth", "out"], 3, "missing.pth"),
        (["export", "missing", "out"], 3, "no model called 'missing'"),
    ],
)
def test_a_mistake_is_one_message_and_an_exit_code(words: list[str], code: int, told: str, tmp_path: Path) -> None:
    write_tone(tmp_path / "800.wav", 800, seconds=0.1)
    ended = mmret(*words, cwd=tmp_path)
    assert ended.returncode == code, ended.stderr
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    assert {path.name for path in tmp_path.iterdir()} == {"800.wav"}


@pytest.mark.parametrize("words", [[], ["--help"], ["search", "--help"], ["--version"]])
def test_a_reader_that_has_seen_enough_is_no_error(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "mmret.cli", *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("option", ["--runtime", "--store"])
def test_a_wrong_choice_is_answered_with_the_right_ones(option: str, tmp_path: Path) -> None:
    ended = mmret("index", "x.wav", "--to", "index", option, "abacus", cwd=tmp_path)
    assert ended.returncode == 2
    assert "'abacus' is not one of" in " ".join(ended.stderr.split())
    assert "Value error" not in ended.stderr


def test_a_hub_out_of_reach_is_told_once(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    sound = write_tone(tmp_path / "800.wav", 800, seconds=0.1)
    code = (
        "import sys, mmret.encoder\n"
        "from mmret.cli import main\n"
        "from mmret.errors import ModelFormatError\n"
        "def from_pretrained(*words, **options):\n"
        "    from huggingface_hub.utils import logging\n"
        "    logging.get_logger('huggingface_hub.utils._http').warning('Retrying in 1s [Retry 1/5].')\n"
        "    raise ModelFormatError('owner/name cannot be loaded: no network')\n"
        "mmret.encoder.Encoder.from_pretrained = from_pretrained\n"
        f"sys.argv = ['mmret', 'classify', {str(sound)!r}, '--labels', 'dog', '--model', 'owner/name']\n"
        "main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (3, "mmret: owner/name cannot be loaded: no network\n")


def test_an_error_of_the_system_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreadable(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "place")

    monkeypatch.setattr("mmret.tasks.search.Index.open", unreadable)
    monkeypatch.setattr(sys, "argv", ["mmret", "info", "index"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == "mmret: place: permission denied\n"


def test_an_error_for_the_user_becomes_one_printable_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mmret", "info", "no\x1b[31mwhere"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    message = capsys.readouterr().err
    assert message.startswith("mmret: ") and message.count("\n") == 1
    assert "\x1b" not in message


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmret.tasks.search.Index.open", interrupted)
    monkeypatch.setattr(sys, "argv", ["mmret", "info", "index"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_ctrl_c_while_the_command_line_is_loaded_ends_with_130() -> None:
    code = (
        "import builtins, os, signal\n"
        "load = builtins.__import__\n"
        "def interrupted(name, *rest):\n"
        "    if name == 'typer':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return load(name, *rest)\n"
        "from mmret.__main__ import main\n"
        "builtins.__import__ = interrupted\n"
        "main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_the_installed_command_and_the_module_are_the_guarded_one() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["project"]["scripts"] == {"mmret": "mmret.__main__:main"}
    ended = subprocess.run([sys.executable, "-m", "mmret", "--version"], capture_output=True, text=True, check=True)
    assert ended.stdout == mmret("--version").stdout
