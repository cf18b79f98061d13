"""The process behind mmret.audio.isolated: decodes what it is asked for, under limits that it sets for itself first."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from mmret.audio.decode import Samples, decode_blocks
from mmret.audio.worker_protocol import BLOCK, FAILED, FINISHED, Request, answer
from mmret.errors import AudioError

Decode = Callable[[Request], Iterator[Samples]]


def main(memory_bytes: int, open_files: int, decode: Decode | None = None) -> None:
    """Answer requests from stdin on stdout until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the reader decides what it means
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints is no answer
    limit_process(memory_bytes, open_files)
    while (request := Request.read(sys.stdin.buffer)) is not None:
        _serve(request, decode or decoded, answers)


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


def _serve(request: Request, decode: Decode, answers: BinaryIO) -> None:
    started_s, samples = time.process_time(), 0
    try:
        _limit_cpu(started_s + request.cpu_s)
        for block in decode(request):
            samples += len(block)
            _send(answers, answer(BLOCK, block.tobytes()))
            _limit_cpu(started_s + request.cpu_s + request.extra_s_per_s * samples / request.sample_rate)
    except AudioError as error:
        _send(answers, answer(FAILED, error.reason.encode()))
    except MemoryError:
        _send(answers, answer(FAILED, b"decoder stopped at its limit of memory (memory_bytes)"))
    else:
        _send(answers, answer(FINISHED))


def _limit_cpu(until_s: float) -> None:
    """End this process by SIGXCPU once it has used so much CPU time; the system counts whole seconds."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(until_s) + 1, resource.RLIM_INFINITY))


def _send(answers: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[answers.write(view) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
