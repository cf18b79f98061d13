"""The process behind mmret.audio.isolated: decodes what it is asked for, under limits that it sets for itself first."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mmret.audio.decode import Samples, decode_blocks
from mmret.audio.worker_protocol import (
    FAILED,
    FINISHED,
    GO_ON,
    MAX_REASON,
    SAMPLES,
    SHARED_SAMPLES,
    Request,
    answer,
)
from mmret.errors import AudioError

Decode = Callable[[Request], Iterator[Samples]]


def main(memory_bytes: int, open_files: int, shared: int, *, decode: Decode | None = None) -> None:
    """Answer requests from stdin on stdout until stdin ends; samples go to the memory behind descriptor `shared`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the reader decides what it means
    with mmap.mmap(shared, 4 * SHARED_SAMPLES) as memory:
        os.close(shared)
        reader = _Reader(sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0), memory)
        os.dup2(2, 1)  # whatever a library prints is no answer
        limit_process(memory_bytes, open_files)
        while (request := Request.read(sys.stdin.buffer)) is not None:
            _serve(request, decode or decoded, reader)


def limit_process(memory_bytes: int, open_files: int) -> None:
    """Bound memory and open files for good, write no file and leave no core."""
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def decoded(request: Request) -> Iterator[Samples]:
    """Blocks (time,) of the recording."""
    return decode_blocks(Path(os.fsdecode(request.path)), request.sample_rate, limits=request.limits)


class _Reader:
    """Who gets the samples: in the memory, a load at a time."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO, memory: mmap.mmap) -> None:
        self._requests, self._answers = requests, answers
        self._memory: Samples = np.frombuffer(memory, np.float32)
        self._filled = 0

    def take(self, block: Samples) -> None:
        """Samples (time,) of a recording, behind those before."""
        while len(block):
            part = block[: SHARED_SAMPLES - self._filled]
            self._memory[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            block = block[len(part) :]
            if self._filled == SHARED_SAMPLES:
                self._hand_over()

    def fail(self, reason: bytes) -> None:
        """There are no more samples, for a reason."""
        self._hand_over()
        self._send(answer(FAILED, len(reason[:MAX_REASON])) + reason[:MAX_REASON])

    def finish(self) -> None:
        """There are no more samples."""
        self._send(answer(FINISHED, self._filled))
        self._filled = 0

    def _hand_over(self) -> None:
        """Wait until the reader has taken what lies in the memory."""
        if self._filled:
            self._send(answer(SAMPLES, self._filled))
            self._filled = 0
            if self._requests.read(len(GO_ON)) != GO_ON:
                raise SystemExit  # the reader is gone

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._answers.write(view) :]


def _serve(request: Request, decode: Decode, reader: _Reader) -> None:
    started_s, samples = time.process_time(), 0
    try:
        _limit_cpu(started_s + request.cpu_s)
        for block in decode(request):
            samples += len(block)
            reader.take(block)
            _limit_cpu(started_s + request.cpu_s + request.extra_s_per_s * samples / request.sample_rate)
    except AudioError as error:
        reader.fail(error.reason.encode())
    except MemoryError:
        reader.fail(b"decoder stopped at its limit of memory (memory_bytes)")
    else:
        reader.finish()


def _limit_cpu(until_s: float) -> None:
    """End this process by SIGXCPU once it has used so much CPU time; the system counts whole seconds."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(until_s) + 1, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
