"""The one writer of an index: an flock that the kernel frees whatever happens to its owner."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from mmret import __version__
from mmret.errors import IndexLocked
from mmret.index.place import read_only

LOCK = "LOCK"
_MAY_NOT_WRITE = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))


class WriterLock:
    """Exclusive right to write to the index in `folder`, for the length of a `with` block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self._pid = 0

    def __enter__(self) -> Self:
        """Take the lock, or raise IndexLocked with its owner, or IndexReadOnly."""
        try:
            descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno in _MAY_NOT_WRITE:
                raise read_only(self._folder) from error
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(os.pread(descriptor, 4096, 0))
            os.close(descriptor)
            raise IndexLocked(f"{self._folder} is being written by {owner}. Wait for it, or stop it") from None
        note = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": __version__,
        }
        with contextlib.suppress(OSError):  # on a full disk the lock holds without its note, so that one can remove
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(note).encode(), 0)
        self._descriptor, self._pid = descriptor, os.getpid()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the lock."""
        # The file stays: unlinking it would let two processes lock two files of one name. Closing is not enough:
        # a child that was forked meanwhile holds the lock with its copy of the descriptor. It must not free it either.
        if os.getpid() == self._pid:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)
        self._descriptor = -1


def _owner(note: bytes) -> str:
    """Sentence part about the process that left `note`; it may be half written."""
    try:
        owner = json.loads(note)
        return f"process {owner['pid']} on {owner['host']} since {owner['started']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
