"""What a person at a terminal is told, and what is left out when watching."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mmret.cli.reporting import SHOW_CURSOR, Reporter
from mmret.tasks.progress import AddProgress
from mmret.tasks.search import AddReport, FailedFile


@pytest.fixture
def reporter() -> Reporter:
    """For people."""
    return Reporter(Path("sounds"), json=False, log_json=False)


def test_only_changes_are_told_after_the_first_run(reporter: Reporter, capsys: pytest.CaptureFixture[str]) -> None:
    reporter.report(AddReport(skipped=3))
    reporter.report(AddReport(skipped=1))
    reporter.report(AddReport(gone=1))
    reporter.report(AddReport(failed=[FailedFile(Path("a.wav"), "it is\nempty")]))
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "sounds: 0 added (0:00:00), 3 known",
        "sounds: 0 added (0:00:00), 0 known, 1 gone",
        "sounds: 0 added (0:00:00), 0 known, 1 failed",
    ]
    assert told.err == "a.wav: it is\\nempty\n"


def test_bytes_that_were_known_are_no_silence(reporter: Reporter, capsys: pytest.CaptureFixture[str]) -> None:
    reporter.report(AddReport(added=37, reused=37))
    reporter.report(AddReport(added=40, reused=37, skipped=2, seconds_of_audio=60))
    assert capsys.readouterr().out.splitlines() == [
        "sounds: 37 added (the same bytes were known), 0 known",
        "sounds: 40 added (0:01:00; the bytes of 37 were known), 2 known",
    ]


def test_away_from_a_terminal_there_is_no_bar(reporter: Reporter, capsys: pytest.CaptureFixture[str]) -> None:
    with reporter.progress() as advance:
        assert advance is None
    reporter.voice.watching([Path("recordings")])
    assert capsys.readouterr().err == ""
    reporter.message("disk\x1b[0m is away")
    assert capsys.readouterr().err == "disk\\x1b[0m is away\n"


def test_on_a_terminal_there_is_a_bar_and_the_cursor_comes_back(
    reporter: Reporter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with reporter.progress() as advance:
        assert advance is not None
        advance(AddProgress(files=1, total=2, seconds_of_audio=1.0))
    reporter.voice.watching([Path("recordings")])
    reporter.stopped()
    told = capsys.readouterr().err
    assert "watching recordings; Ctrl-C ends it" in told
    assert f"{SHOW_CURSOR}stopped; " in told
