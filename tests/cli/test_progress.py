"""Pace and time left, by a clock that the test sets."""

from __future__ import annotations

import json
import logging

import pytest

from mmret.cli.progress import WINDOW_S, Pace, counting_bar, progress_bar
from mmret.cli.reporting import JsonLog
from mmret.tasks.progress import AddProgress


class Clock:
    """A time to set."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_known_files_are_no_work() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert (pace.files_per_s, pace.left_s, str(pace)) == (0.0, None, "0.0 files/s, 0 audio-hours/h")
    clock.now_s += 10
    pace.note(AddProgress(files=1020, total=1100, seconds_of_audio=3600.0, known=1000))
    assert (pace.files_per_s, pace.audio_hours_per_hour, pace.left_s) == (2.0, 360.0, 40.0)
    assert str(pace) == "2.0 files/s, 360 audio-hours/h, 0:00:40 left"


def test_only_the_last_minute_counts() -> None:
    clock = Clock()
    pace = Pace(clock)
    for second in range(1, 301):
        clock.now_s += 1
        files = 100 * min(second, 200) + max(0, second - 200)  # slower after 200 s
        pace.note(AddProgress(files=files, total=100_000, seconds_of_audio=0.0))
    assert pace.files_per_s == pytest.approx(1.0)
    assert len(pace._points) <= WINDOW_S + 2


def test_progress_is_logged_at_most_once_a_second_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    log = JsonLog(clock)
    with log.follow() as advance:
        assert advance is not None
        for files in range(1, 21):
            clock.now_s += 0.25
            advance(AddProgress(files=files, total=20, seconds_of_audio=float(files)))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["files"] for line in lines] == [1, 5, 9, 13, 17, 20]


def test_warnings_of_the_library_are_lines_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonLog().listening():
        logging.getLogger("mmret.tasks.indexing").warning("%s is odd", "this")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["message"]) == ("warning", "this is odd")


def test_the_bar_shows_pace_and_time_left(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    pace = Pace()
    with progress_bar(pace) as show:
        state = AddProgress(files=1, total=2, seconds_of_audio=1.0)
        pace.note(state)
        show(state)
    told = capsys.readouterr().err
    assert "files/s" in told
    assert "left" in told


def test_a_bar_of_known_length_makes_way_when_it_is_full(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with counting_bar("listening", 2) as tell:
        assert tell is None  # away from a terminal
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with counting_bar("listening", 2) as tell:
        assert tell is not None
        for done in (1, 2):
            tell(done)
        with counting_bar("training", 1) as another:  # rich allows one at a time
            assert another is not None
            another(1)
    assert capsys.readouterr().out == ""
