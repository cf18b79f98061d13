"""Ctrl-C at moments where its exception would be lost or made into another one."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import time
from importlib.machinery import ExtensionFileLoader
from types import FrameType
from typing import Any

INTERRUPTED = 130
_SOON_S = 0.01


def comes_too_early(number: int, frame: FrameType | None) -> bool:
    """Whether a signal met a compiled module that is loading; if so, it comes again soon.

    Such a module makes an ImportError of the exception, or is left half loaded and crashes when the process ends.
    """
    while frame is not None:
        loads = frame.f_code.co_name in ("create_module", "exec_module")
        if loads and isinstance(frame.f_locals.get("self"), ExtensionFileLoader):
            send_again(number)
            return True
        frame = frame.f_back
    return False


def send_again(number: int) -> None:
    """Call the handler of a signal in a moment."""

    def send() -> None:
        time.sleep(_SOON_S)
        _thread.interrupt_main(signal.Signals(number))

    _thread.start_new_thread(send, ())


class Interruption:
    """Ctrl-C, remembered from the start of a command to its end."""

    def __init__(self) -> None:
        self.came = False

    def listen(self) -> None:
        """Take over the signal, unless whoever started the command had it ignored."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)
            sys.unraisablehook = self._lost

    def end(self) -> None:
        """From here on all is done but the leaving: the signal cuts waiting for threads short, then counts no more."""
        if signal.getsignal(signal.SIGINT) == self._interrupt:
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
        # An interrupted exec of a string, as dataclasses do, makes CPython end by a signal: the next one unmakes that.
        exec("")

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        if not comes_too_early(number, frame):
            raise KeyboardInterrupt

    def _lost(self, unraisable: Any) -> None:
        """Interrupt again where the exception met code that may raise none, as that of a weak reference."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            send_again(signal.SIGINT)
        elif not self.came:
            sys.__unraisablehook__(unraisable)
