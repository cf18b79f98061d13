"""How fast a run is and when it will end, and a bar that shows it."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mmret.cli.printing import duration

if TYPE_CHECKING:
    from mmret.tasks.search import AddProgress

WINDOW_S = 60.0


class Pace:
    """Files and audio a second over the last minute; files that were known already do not count as work."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._points = deque([(clock(), 0, 0.0)])  # time, files worked on, seconds of audio
        self._files_left = 0

    def note(self, state: AddProgress) -> None:
        """Take how far a run is now."""
        now_s = self._clock()
        self._points.append((now_s, state.files - state.known, state.seconds_of_audio))
        self._files_left = state.total - state.files
        while len(self._points) > 2 and self._points[1][0] <= now_s - WINDOW_S:
            self._points.popleft()

    @property
    def files_per_s(self) -> float:
        """Files a second."""
        return (self._points[-1][1] - self._points[0][1]) / self._elapsed_s

    @property
    def audio_hours_per_hour(self) -> float:
        """Hours of audio an hour."""
        return (self._points[-1][2] - self._points[0][2]) / self._elapsed_s

    @property
    def left_s(self) -> float | None:
        """Time until all files are done, if none of those ahead is known; None before there is anything to go by."""
        return self._files_left / self.files_per_s if self.files_per_s else None

    @property
    def _elapsed_s(self) -> float:
        return max(self._points[-1][0] - self._points[0][0], 1e-3)

    def __str__(self) -> str:
        """For people."""
        left = "" if self.left_s is None else f", {duration(self.left_s)} left"
        return f"{self.files_per_s:.1f} files/s, {self.audio_hours_per_hour:.0f} audio-hours/h{left}"


@contextmanager
def counting_bar(what: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """A bar on stderr for a known number of recordings; None away from a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)

        def advance(done: int) -> None:
            bar.update(task, completed=done)
            if done == total:
                bar.stop()  # what comes after may have a bar of its own

        yield advance


@contextmanager
def progress_bar(pace: Pace) -> Iterator[Callable[[AddProgress], None]]:
    """A bar on stderr for one run."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("indexing", total=None, pace="")

        def advance(state: AddProgress) -> None:
            bar.update(task, completed=state.files, total=state.total, pace=str(pace))

        yield advance
