"""The lock of the writer is its process's own, whatever is forked while it holds it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmret.errors import IndexLocked
from mmret.index.lock import WriterLock


@contextmanager
def forked() -> Iterator[None]:
    """A child that is forked without exec and sleeps, for the length of the block."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_child_that_was_forked_under_the_lock_does_not_keep_it(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path)
    lock.__enter__()
    with forked():
        lock.__exit__(None, None, None)
        with WriterLock(tmp_path):
            pass


def test_a_child_that_leaves_the_block_does_not_free_the_lock(tmp_path: Path) -> None:
    with WriterLock(tmp_path) as lock:
        child = os.fork()
        if child == 0:
            lock.__exit__(None, None, None)
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(IndexLocked, match=f"process {os.getpid()}"), WriterLock(tmp_path):
            pass
