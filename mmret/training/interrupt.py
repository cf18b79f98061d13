"""Stopping a run in good order: signals become a request, a run folder belongs to one process."""

from __future__ import annotations

import fcntl
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from mmret.errors import TrainingError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Set by the first SIGTERM or SIGINT while active; a second one ends the process at once."""

    def __init__(self) -> None:
        """Start without a request."""
        self.signal_number = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        """Listen, where Python allows it: in the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number:
            raise SystemExit(128 + number)
        self.signal_number = number

    @property
    def exit_code(self) -> int:
        """What the shell expects of a process ended by the signal: 143 or 130."""
        return 128 + self.signal_number


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold the run folder for this process; the kernel frees it when the process dies, however it dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "LOCK").open("w")
    except OSError as error:
        raise TrainingError(f"{folder} cannot hold a run: {error.strerror}; choose another output_dir") from error
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(f"another process is training in {folder}; choose another output_dir") from error
        yield
