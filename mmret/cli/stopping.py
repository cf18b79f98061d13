"""Ctrl-C and SIGTERM: the work at hand is abandoned in good order, and in any case soon."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from mmret._interruption import comes_too_early

GRACE_S = 1.2
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Stop:
    """The first signal interrupts the main thread; if that is not out after GRACE_S, the process ends at once.

    The end at once is for the case that the main thread is deep in an encoder, where Python cannot reach it. What
    was committed to an index is safe at any moment.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._number = 0
        self._out = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Take over the signals; one that the caller of the command ignores stays ignored."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        # written by the C handler, so the guard hears of a signal even when Python code is not running
        self._fd_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._interrupt)
        threading.Thread(target=self._guard, name="stopping", daemon=True).start()

    def let_go(self) -> None:
        """Give the signals back."""
        self._out.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._writer)

    @property
    def came(self) -> bool:
        """Whether there was a signal."""
        return self._number != 0

    def leave(self) -> int:
        """Tell the user, and give the exit code that a shell expects: 130 or 143."""
        self._out.set()
        self._tell()
        return 128 + (self._number or signal.SIGINT)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        # another signal must not disturb the way out, which the guard keeps short
        if not self._number and not comes_too_early(number, frame):
            self._number = number
            raise KeyboardInterrupt

    def _guard(self) -> None:
        while byte := os.read(self._reader, 1):
            if byte[0] in SIGNALS and not self._out.wait(GRACE_S):
                self._number = byte[0]
                os._exit(self.leave())
        os.close(self._reader)


@contextmanager
def stoppable(tell: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block within two seconds; `tell` says how to go on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stop = _Stop(tell)
    stop.listen()
    try:
        yield
        if stop.came:  # and its exception was lost, as it is in code that may raise none
            raise KeyboardInterrupt
    except BaseException as error:
        # compiled modules that are loading make an ImportError of it
        if not stop.came and not isinstance(error, KeyboardInterrupt):
            raise
        raise typer.Exit(stop.leave()) from None
    finally:
        stop.let_go()
