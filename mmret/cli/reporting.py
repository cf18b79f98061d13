"""What `mmret index` tells: results on stdout, and what happens on the way on stderr, in words or as JSON."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from mmret.cli.exit_codes import CANNOT_CONTINUE
from mmret.cli.printing import duration, note, print_json, shown
from mmret.cli.progress import Pace, progress_bar

if TYPE_CHECKING:
    from mmret.tasks.search import AddProgress, AddReport

SHOW_CURSOR = "\x1b[?25h"
SECONDS_PER_PROGRESS = 1.0

Follow = Callable[["AddProgress"], None]


class Voice(Protocol):
    """Tells on stderr what happens on the way."""

    def follow(self) -> AbstractContextManager[Follow | None]:
        """Follow one run of adding."""

    def report(self, report: AddReport) -> None:
        """Tell how a run ended: what failed, above all."""

    def watching(self, paths: Sequence[Path]) -> None:
        """Tell that changes are waited for from now on."""

    def message(self, text: str) -> None:
        """Tell what hinders the work."""

    def stopped(self, command: str) -> None:
        """Tell how to go on."""


class Words:
    """For people: a bar on a terminal; elsewhere only what went wrong."""

    @contextmanager
    def follow(self) -> Iterator[Follow | None]:
        """Show a bar with the pace and the time left."""
        if not sys.stderr.isatty():
            yield None
            return
        pace = Pace()
        with progress_bar(pace) as show:

            def advance(state: AddProgress) -> None:
                pace.note(state)
                show(state)

            yield advance

    def report(self, report: AddReport) -> None:
        """Name the files that failed."""
        for failed in report.failed:
            note(f"{shown(failed.path)}: {shown(failed.reason)}")

    def watching(self, paths: Sequence[Path]) -> None:
        """Say so to someone who sits in front of it."""
        if sys.stderr.isatty():
            note(f"watching {', '.join(map(shown, paths))}; Ctrl-C ends it")

    def message(self, text: str) -> None:
        """Print a line."""
        note(shown(text))

    def stopped(self, command: str) -> None:
        """Print the command to give again."""
        # a bar that was cut off has left the cursor hidden
        cursor = SHOW_CURSOR if sys.stderr.isatty() else ""
        note(f"{cursor}stopped; what was indexed is kept. To go on: {shown(command)}")


class JsonLog(logging.Handler):
    """For programs: one JSON object a line; files, progress at most once a second, totals, warnings of the library."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._failed: set[Path] = set()  # told in this run

    def line(self, event: str, **facts: object) -> None:
        """Write one object; facts that are None are left out."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        row = {"time": now, "event": event} | {name: fact for name, fact in facts.items() if fact is not None}
        note(json.dumps(row, default=os.fspath, allow_nan=False))

    def emit(self, record: logging.LogRecord) -> None:
        """Write what a module of mmret warns about."""
        self.line("warning", message=record.getMessage())

    @contextmanager
    def follow(self) -> Iterator[Follow | None]:
        """Write a line for each file, and how fast the run is."""
        pace = Pace(self._clock)
        self._failed = set()
        due_s = self._clock()

        def advance(state: AddProgress) -> None:
            nonlocal due_s
            pace.note(state)
            for event in state.events:
                self.line(**asdict(event))
            self._failed.update(event.path for event in state.events if event.event == "failed")
            if state.total and (self._clock() >= due_s or state.files == state.total):
                due_s = self._clock() + SECONDS_PER_PROGRESS
                self._progress(state, pace)

        yield advance

    def _progress(self, state: AddProgress, pace: Pace) -> None:
        self.line(
            "progress",
            files=state.files,
            total=state.total,
            known=state.known,
            seconds_of_audio=round(state.seconds_of_audio, 3),
            files_per_s=round(pace.files_per_s, 3),
            audio_hours_per_hour=round(pace.audio_hours_per_hour, 3),
            left_s=None if pace.left_s is None else round(pace.left_s, 1),
        )

    def report(self, report: AddReport) -> None:
        """Write the totals, and first the folders that could not be listed."""
        for failed in report.failed:
            if failed.path not in self._failed:
                self.line("failed", path=failed.path, reason=failed.reason)
        self.line("totals", **{**asdict(report), "failed": len(report.failed)})

    def watching(self, paths: Sequence[Path]) -> None:
        """Write which paths are watched."""
        self.line("watching", paths=list(paths))

    def message(self, text: str) -> None:
        """Write what a person should know."""
        self.line("message", message=text)

    def stopped(self, command: str) -> None:
        """Write the command to give again."""
        self.line("stopped", command=command)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Write warnings of the library, and the error that ends the command, as lines too."""
        from mmret.errors import MmretError

        logger = logging.getLogger("mmret")
        propagated, logger.propagate = logger.propagate, False
        logger.addHandler(self)
        try:
            yield
        except BrokenPipeError:
            raise
        except (MmretError, OSError) as error:
            self.line("error", message=str(error))
            raise typer.Exit(CANNOT_CONTINUE) from None
        finally:
            logger.removeHandler(self)
            logger.propagate = propagated


class Reporter:
    """Puts the result of each run on stdout and leaves the rest to a voice."""

    def __init__(self, folder: Path, *, json: bool, log_json: bool) -> None:
        self._folder = folder
        self._json = json
        self._runs = 0
        self._log = JsonLog() if log_json else None
        self.voice: Voice = self._log or Words()

    def progress(self) -> AbstractContextManager[Follow | None]:
        """Follow one run of adding."""
        return self.voice.follow()

    def listening(self) -> AbstractContextManager[None]:
        """Log warnings and the last error, where a log is wanted."""
        return nullcontext() if self._log is None else self._log.listening()

    def message(self, text: str) -> None:
        """Tell what hinders the work."""
        self.voice.message(text)

    def report(self, report: AddReport) -> None:
        """Tell what a run did; when watching, only if it did anything."""
        self._runs += 1
        if self._runs > 1 and not (report.added or report.gone or report.failed):
            return
        self.voice.report(report)
        if self._json:
            print_json({"index": self._folder, "exists": _exists(self._folder), **asdict(report)})
        else:
            typer.echo(_summary(report, self._folder))

    def stopped(self) -> None:
        """Tell how to go on after an interruption."""
        self.voice.stopped(shlex.join(["mmret", *sys.argv[1:]]))


def _exists(folder: Path) -> bool:
    """Whether there is an index now: none is made where not one recording could be used."""
    from mmret.index.store import IndexStore

    return IndexStore.exists(folder)


def how_much(report: AddReport) -> str:
    """Length of the audio that was heard, and of how many recordings nothing had to be."""
    if report.reused and report.reused == report.added:
        return "the same bytes were known"
    length = duration(report.seconds_of_audio)
    return f"{length}; the bytes of {report.reused} were known" if report.reused else length


def _summary(report: AddReport, folder: Path) -> str:
    parts = [f"{report.added} added ({how_much(report)})", f"{report.skipped} known"]
    if report.gone:
        parts.append(f"{report.gone} gone")
    if report.failed:
        parts.append(f"{len(report.failed)} failed")
    return f"{shown(folder)}: {', '.join(parts)}"
