"""Decoding in worker processes that can be limited and killed, for recordings of unknown origin.

A worker (mmret.audio.isolated_worker) decodes one recording after the other and hands over the samples of
`decode_blocks` in memory that both processes have. What ends it, be it a crash, a limit or a clock, is the AudioError
of the recording that it was reading; the next one gets another worker. Its answers are not trusted either.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from mmret.audio.decode import DecodeLimits, Samples, decode_blocks
from mmret.audio.ffmpeg import FFMPEG_SUFFIXES
from mmret.audio.worker_protocol import (
    FAILED,
    FINISHED,
    GO_ON,
    HEADER,
    MAX_REASON,
    SAMPLES,
    SHARED_SAMPLES,
    Request,
)
from mmret.errors import AudioError

_MOST = {SAMPLES: SHARED_SAMPLES, FINISHED: SHARED_SAMPLES, FAILED: MAX_REASON}  # that an answer may count


@dataclass(frozen=True)
class WorkerLimits:
    """What a worker may use: address space, open files, and for each recording CPU time and time of waiting for it.

    Each second of sound that arrived adds `extra_s_per_s` to both times, so that long recordings have what they need.
    """

    memory_bytes: int = 2 * 2**30
    open_files: int = 32
    cpu_s: float = 60.0
    wall_s: float = 120.0
    extra_s_per_s: float = 1 / 60

    def __post_init__(self) -> None:
        """Refuse limits that nothing could be decoded in."""
        if min(asdict(self).values()) <= 0:
            raise ValueError(f"limits must be above zero: {self}")


# The C library would give the buffers of each recording back to the system and fault them in again for the next one,
# which costs a quarter of the time of decoding a WAV file.
_KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**26), "MALLOC_MMAP_THRESHOLD_": str(2**25)}

_DEFAULT_LIMITS = DecodeLimits()
_DEFAULT_WORKER_LIMITS = WorkerLimits()


class IsolatedDecoder:
    """Call it like `decode_blocks`; workers are started when needed and used again. Close it, or use it in `with`.

    >>> with IsolatedDecoder() as decode:
    ...     blocks = decode("no such file.wav", 16_000)
    """

    _command = ("-m", "mmret.audio.isolated_worker")

    def __init__(
        self, limits: DecodeLimits = _DEFAULT_LIMITS, worker_limits: WorkerLimits = _DEFAULT_WORKER_LIMITS
    ) -> None:
        self._limits = limits
        self._worker_limits = worker_limits
        self._idle: list[_Worker] = []
        self._closed = False
        self._lock = threading.Lock()

    def __call__(self, path: str | os.PathLike[str], sample_rate: int) -> Iterator[Samples]:
        """Samples (time,) of a recording at sample_rate, in pieces; raises AudioError(path, reason).

        ffmpeg, which reads some formats, is a process of its own already.
        """
        path = Path(path)
        if path.suffix.lower() in FFMPEG_SUFFIXES:
            yield from decode_blocks(path, sample_rate, limits=self._limits)
            return
        worker = self._take()
        whole = False
        try:
            yield from worker.pieces(path, sample_rate, self._limits)
            whole = True
        except AudioError:
            whole = worker.at_rest
            raise
        finally:
            self._give_back(worker, whole=whole)

    def __enter__(self) -> Self:
        """Use in a `with` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the workers."""
        self.close()

    def close(self) -> None:
        """End the workers; one that is still decoding ends when its reader does."""
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for worker in idle:
            worker.kill()

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    return worker
                worker.kill()
        return _Worker(self._command, self._worker_limits)

    def _give_back(self, worker: _Worker, *, whole: bool) -> None:
        with self._lock:
            if whole and not self._closed:
                self._idle.append(worker)
                return
        worker.kill()  # the rest of an answer would be taken for the next one


class _Worker:
    """A process that decodes, and what is known of the recording that it has."""

    def __init__(self, command: tuple[str, ...], limits: WorkerLimits) -> None:
        self._limits = limits
        self.at_rest = True
        shared = _shared_memory()
        try:
            self._memory = mmap.mmap(shared, 4 * SHARED_SAMPLES, prot=mmap.PROT_READ)
            self._process = subprocess.Popen(
                # -P: a folder of recordings may hold a soundfile.py
                [sys.executable, "-P", *command, str(limits.memory_bytes), str(limits.open_files), str(shared)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                bufsize=0,
                pass_fds=[shared],
            )
        finally:
            os.close(shared)
        assert self._process.stdout is not None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def pieces(self, path: Path, sample_rate: int, limits: DecodeLimits) -> Iterator[Samples]:
        """Send a request and pass on what comes back, until its end or a fault."""
        self.at_rest = False
        cpu_s, extra = self._limits.cpu_s, self._limits.extra_s_per_s
        request = Request(os.fsencode(path.absolute()), sample_rate, cpu_s, extra, limits)
        self._send(path, request.packed())
        waited_s, samples, kind = 0.0, 0, SAMPLES
        while kind == SAMPLES:
            started_s = time.monotonic()
            deadline_s = started_s + self._limits.wall_s + extra * samples / sample_rate - waited_s
            kind, number = self._answer(path, deadline_s)
            if kind == FAILED:
                reason = self._read(path, number, deadline_s).decode(errors="replace")
                self.at_rest = True
                raise AudioError(path, reason)
            waited_s += time.monotonic() - started_s
            # copied, because the worker may write there at any time
            piece = np.frombuffer(self._memory, np.float32, number).copy()
            samples += number
            if samples > (limits.max_seconds + 1) * sample_rate:
                raise AudioError(path, f"over the limit of {limits.max_seconds:.0f} s (max_seconds)")
            if kind == SAMPLES:
                self._send(path, GO_ON)
            self.at_rest = kind == FINISHED
            if number:
                yield piece

    def kill(self) -> None:
        """End the process, whatever it does, and let go of its pipes."""
        self._selector.close()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._memory.close()

    def _send(self, path: Path, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
        except BrokenPipeError:
            raise self._ended(path) from None

    def _answer(self, path: Path, deadline_s: float) -> tuple[bytes, int]:
        """Kind and number of the next answer."""
        kind, number = struct.unpack(HEADER, self._read(path, struct.calcsize(HEADER), deadline_s))
        if number > _MOST.get(kind, -1):
            raise AudioError(path, "decoder gave an answer that is none")
        return kind, number

    def _read(self, path: Path, size: int, deadline_s: float) -> bytearray:
        assert self._process.stdout is not None
        parts = bytearray()
        while len(parts) < size:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not self._selector.select(left_s):
                raise AudioError(path, f"decoder stopped after {self._limits.wall_s:g} s without an end (wall_s)")
            part = os.read(self._process.stdout.fileno(), size - len(parts))
            if not part:
                raise self._ended(path)
            parts += part
        return parts

    def _ended(self, path: Path) -> AudioError:
        code = self._process.wait()
        if code >= 0:
            return AudioError(path, f"decoder stopped with exit code {code}")
        limit = f", its limit of {self._limits.cpu_s:g} s of CPU time (cpu_s)" if -code == signal.SIGXCPU else ""
        return AudioError(path, f"decoder stopped by signal {-code}{limit}")


def _shared_memory() -> int:
    """Descriptor of memory for a load of samples, of a length that no process can change: reading it never faults."""
    descriptor = os.memfd_create("mmret-samples", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, 4 * SHARED_SAMPLES)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor


def _environment() -> dict[str, str]:
    """Variables of a worker: the modules of this process, one thread, memory that is kept from file to file."""
    modules = os.pathsep.join(place for place in sys.path if Path(place).is_absolute())
    return {**os.environ, "PYTHONPATH": modules, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **_KEPT_MEMORY}
