"""index --watch and Ctrl-C as a person meets them: in a process of its own, with real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from mmret.tasks.search import Index
from tests.conftest import ROOT
from tests.tasks.fake_encoder import FakeEncoder, write_tone

Run = Callable[..., Result]


@contextmanager
def started(kind: str, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A command at work."""
    command = [sys.executable, "-m", "tests.cli.index_process", kind, *map(str, words)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def interrupt(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> float:
    """Send a signal and give the seconds until the process was gone."""
    sent_s = time.monotonic()
    process.send_signal(number)
    process.wait(20)
    return time.monotonic() - sent_s


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Lines of the log as they come."""
    assert process.stderr is not None
    return map(json.loads, process.stderr)


def until(lines: Iterator[dict[str, Any]], event: str) -> dict[str, Any]:
    """The next line of a kind."""
    return next(line for line in lines if line["event"] == event)


def test_watching_follows_a_folder_until_ctrl_c(sounds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    for path in sounds.iterdir():
        os.utime(path, (0, 0))  # complete for long
    with started("fast", "index", sounds, "--to", folder, "--watch", "--log-json") as process:
        log = events(process)
        assert until(log, "watching")["paths"] == [str(sounds)]
        assert until(log, "totals")["added"] == 3
        write_tone(sounds / "new.wav", 500, seed=9)
        (sounds / "200.wav").unlink()
        changes = {}
        while len(changes) < 2:
            line = next(log)
            if line["event"] in {"added", "removed"}:
                changes[Path(line["path"]).name] = line["event"]
        assert changes == {"new.wav": "added", "200.wav": "removed"}
        assert interrupt(process) < 2
        assert process.returncode == 130
        last = list(log)[-1]
    assert last["event"] == "stopped"
    assert last["command"] == f"mmret index {sounds} --to {folder} --watch --log-json"
    with Index.open(folder, FakeEncoder()) as index:
        assert index.check().problems == []
        assert {hit.path.name for hit in index.search("500 Hz", k=50)} == {"new.wav", "800.wav", "3000.wav"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_an_encoder_that_takes_long_is_left_within_two_seconds(
    sounds: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with started("slow", "index", sounds, "--to", tmp_path / "index") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "encoding\n"
        assert interrupt(process, number) < 2
        assert process.returncode == code
        told = process.stderr.read()
    assert told == f"stopped; what was indexed is kept. To go on: mmret index {sounds} --to {tmp_path / 'index'}\n"
    with Index.open(tmp_path / "index", FakeEncoder()) as index:
        assert index.check().problems == []
        assert index.add(sounds).added == 3


def test_the_log_tells_files_progress_and_totals(run: Run, sounds: Path, tmp_path: Path) -> None:
    (sounds / "text.wav").write_text("no sound")
    result = run("index", sounds, "--to", tmp_path / "index", "--log-json", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["added"] == 3
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert {(line["event"], Path(line["path"]).name) for line in lines if "path" in line} == {
        ("added", "200.wav"),
        ("added", "800.wav"),
        ("added", "3000.wav"),
        ("failed", "text.wav"),
    }
    progress, totals = lines[-2:]
    assert (progress["event"], progress["files"], progress["total"], progress["left_s"]) == ("progress", 4, 4, 0)
    assert min(progress["files_per_s"], progress["audio_hours_per_hour"]) > 0
    assert (totals["event"], totals["added"], totals["failed"], totals["seconds_of_audio"]) == ("totals", 3, 1, 6.0)
    assert all("T" in line["time"] for line in lines)


def test_the_error_that_ends_a_run_is_a_line_of_the_log_too(run: Run, tmp_path: Path) -> None:
    result = run("index", tmp_path / "missing", "--to", tmp_path / "index", "--log-json")
    assert result.exit_code == 3
    line = json.loads(result.stderr)
    assert (line["event"], "no such file or folder" in line["message"]) == ("error", True)


def test_an_interrupted_run_says_how_to_go_on(
    run: Run, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["/usr/bin/mmret", "index", "my sounds", "--to", "x"])
    monkeypatch.setattr(FakeEncoder, "encode_waveforms", interrupted)
    before = signal.getsignal(signal.SIGINT)
    result = run("index", sounds, "--to", tmp_path / "index")
    assert result.exit_code == 130
    assert result.stderr == "stopped; what was indexed is kept. To go on: mmret index 'my sounds' --to x\n"
    assert signal.getsignal(signal.SIGINT) is before
