"""Guarded decoding: any file, untrusted, to mono float32 at the rate that a model hears.

Budgets come before samples: a 700 kB file may hold gigabytes, and a header may say anything. Blocks are counted as
they arrive; nothing is allocated from a header's word alone.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from mmret.audio.containers import MP3_COUNTS, MP3_HEADER_BYTES, promised_bytes, uncounted_mp3_start
from mmret.audio.ffmpeg import FFMPEG_SUFFIXES, ffmpeg_blocks
from mmret.errors import AudioError

SOUNDFILE_SUFFIXES = frozenset(
    (
        ".wav",
        ".wave",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".caf",
        ".w64",
        ".rf64",
    )
)
AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES | FFMPEG_SUFFIXES
BLOCK_FRAMES = 65_536
SILENCE_PEAK = 1e-6
MAX_NON_FINITE_SHARE = 0.01
MAX_LEVEL = 16.0
_INT16_FORMATS = ("WAV", "WAVEX", "AIFF")  # elsewhere libsndfile's own conversion to float is faster
_SAMPLE_BYTES = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_SMALL_BYTES = 2**26  # that much is decoded in a moment, from however few bytes
_UNKNOWN_FRAMES = 2**62  # an unknown length reads as a number near 2**63

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class DecodeLimits:
    """What a file may ask for: bytes on disk, seconds of sound, channels and sampling rate.

    `max_expansion` is the number of bytes of samples (float32, all channels) for each byte of the file: digital silence
    in one channel reaches some 1,900, the quietest speech 300, and a file made to exhaust its reader tens of thousands.
    """

    max_bytes: int = 4 * 2**30
    max_seconds: float = 86_400.0
    max_channels: int = 64
    min_rate_hz: int = 1_000
    max_rate_hz: int = 768_000
    max_expansion: int = 2_000


def decode(path: str | os.PathLike[str], sample_rate: int, *, limits: DecodeLimits = DecodeLimits()) -> Samples:
    """Whole recording as mono float32 (time,) at sample_rate; raises AudioError(path, reason)."""
    samples: Samples = np.concatenate(list(decode_blocks(path, sample_rate, limits=limits)))
    if not len(samples):
        raise AudioError(path, f"too short: not one sample at {sample_rate} Hz")
    return samples


def decode_blocks(
    path: str | os.PathLike[str], sample_rate: int, *, limits: DecodeLimits = DecodeLimits()
) -> Iterator[Samples]:
    """The samples of `decode` piece by piece, in memory that does not grow with the recording.

    Empty, truncated, silent, undecodable and oversized files raise AudioError(path, reason), some of them only
    after their samples were read.
    """
    path = Path(path)
    with _regular_file(path, limits) as descriptor:
        through_ffmpeg = path.suffix.lower() in FFMPEG_SUFFIXES
        blocks = ffmpeg_blocks(path, sample_rate) if through_ffmpeg else _soundfile_blocks(path, descriptor, limits)
        check = _SampleCheck(path, limits)
        yield from _resampled(check.passed(blocks), sample_rate)
        check.finish()


@contextmanager
def _regular_file(path: Path, limits: DecodeLimits) -> Iterator[int]:
    """Descriptor of a regular file, neither empty nor over the budget; opened so that a FIFO cannot block us."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise AudioError(path, "no such file") from None
    except OSError as error:
        raise AudioError(path, f"cannot be opened: {os.strerror(error.errno or 0)}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(path, "not a regular file")
        if status.st_size == 0:
            raise AudioError(path, "empty file")
        if status.st_size > limits.max_bytes:
            raise AudioError(path, f"{status.st_size} bytes, over the limit of {limits.max_bytes} (max_bytes)")
        os.set_blocking(descriptor, True)
        yield descriptor
    finally:
        os.close(descriptor)


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile is untyped
    """A sound that is read from front to end: no seek after each block, which costs time and moves bits of an MP3."""

    def seekable(self) -> bool:
        """Say no, so that soundfile does not seek to where it is already."""
        return False


@contextmanager
def _opened(path: Path, descriptor: int) -> Iterator[soundfile.SoundFile]:
    """The sound in an open file. By descriptor, because any bytes are a legal name and a suffix proves nothing."""
    start = uncounted_mp3_start(path)
    with nullcontext(descriptor) if start is None else _piped(descriptor, start) as source:
        try:
            with _ForwardFile(source, closefd=False) as file:
                yield file
        except soundfile.LibsndfileError as error:
            raise AudioError(path, f"cannot be decoded: {error.error_string.rstrip('.')}") from None


@contextmanager
def _piped(descriptor: int, start: int) -> Iterator[int]:
    """Descriptor of a stream with the file's bytes from `start` on.

    In a stream libsndfile reads an MP3 to its end; in a file it stops where it estimates the end to be, which may be
    a sixth of the way. A pair of sockets, because a pipe would stay open while a process forked meanwhile lives.
    """
    reading, writing = socket.socketpair()
    feeder = threading.Thread(target=_feed, args=(descriptor, start, writing), daemon=True)
    with reading, writing:
        feeder.start()
        try:
            yield reading.fileno()
        finally:
            reading.shutdown(socket.SHUT_RDWR)  # a feeder that still has bytes ends with it
            feeder.join()


def _feed(descriptor: int, start: int, writing: socket.socket) -> None:
    with suppress(OSError):
        head = os.pread(descriptor, MP3_HEADER_BYTES, start)
        for name in MP3_COUNTS:  # or libsndfile would believe it
            head = head.replace(name, bytes(len(name)))
        writing.sendall(head)
        start += len(head)
        while data := os.pread(descriptor, BLOCK_FRAMES, start):
            start += len(data)
            writing.sendall(data)
        writing.shutdown(socket.SHUT_WR)


def _soundfile_blocks(path: Path, descriptor: int, limits: DecodeLimits) -> Iterator[tuple[Samples, int]]:
    with _opened(path, descriptor) as file:
        _check_header(path, file, limits)
        _check_length(path, descriptor, file)
        if file.frames < _UNKNOWN_FRAMES:
            _check_expansion(path, descriptor, file.frames * file.channels, limits)
        integer = file.subtype == "PCM_16" and file.format in _INT16_FORMATS
        buffer = np.empty((BLOCK_FRAMES, file.channels), np.int16 if integer else np.float32)
        arrived = 0
        while len(block := file.read(out=buffer)):
            arrived += len(block)
            _check_expansion(path, descriptor, arrived * file.channels, limits)
            yield _mono(block, 1 / 32768 if integer else 1.0), file.samplerate
        if arrived == 0:
            raise AudioError(path, "empty: no samples")
        if arrived < file.frames < _UNKNOWN_FRAMES:
            raise AudioError(path, f"truncated: {arrived} of {file.frames} frames")


def _check_header(path: Path, file: soundfile.SoundFile, limits: DecodeLimits) -> None:
    if not 1 <= file.channels <= limits.max_channels:
        raise AudioError(path, f"{file.channels} channels, over the limit of {limits.max_channels} (max_channels)")
    if not limits.min_rate_hz <= file.samplerate <= limits.max_rate_hz:
        raise AudioError(
            path, f"sampling rate {file.samplerate} Hz is outside {limits.min_rate_hz}-{limits.max_rate_hz} Hz"
        )
    # Where the length is unknown, the count of what really arrives decides.
    if file.frames < _UNKNOWN_FRAMES and file.frames > limits.max_seconds * file.samplerate:
        seconds = file.frames / file.samplerate
        raise AudioError(path, f"{seconds:.0f} s long, over the limit of {limits.max_seconds:.0f} s (max_seconds)")


def _check_length(path: Path, descriptor: int, file: soundfile.SoundFile) -> None:
    """Refuse a file that ends before its container says so; a part of one frame may be missing."""
    promised, size = promised_bytes(path), os.fstat(descriptor).st_size
    if promised is not None and promised - size >= _SAMPLE_BYTES.get(file.subtype, 1) * file.channels:
        raise AudioError(path, f"truncated: {size} of {promised} bytes")


def _check_expansion(path: Path, descriptor: int, values: int, limits: DecodeLimits) -> None:
    """Refuse a small file that holds, or claims, samples out of all proportion."""
    size = os.fstat(descriptor).st_size
    if 4 * values > max(limits.max_expansion * size, _SMALL_BYTES):
        raise AudioError(
            path,
            f"{size} bytes would unpack to {4 * values} and more, over the limit of {limits.max_expansion} times "
            "(max_expansion)",
        )


def _mono(block: NDArray[np.int16] | Samples, scale: float) -> Samples:
    """Mean of the channels (frames, channels) -> (frames,). Adding columns is 30 times faster than mean(axis=1)."""
    mono = block[:, 0].astype(np.float32)
    for channel in range(1, block.shape[1]):
        mono += block[:, channel]
    factor = np.float32(scale / block.shape[1])
    if factor != 1:
        mono *= factor
    return mono


class _SampleCheck:
    """Counts what passes by: seconds against the budget, samples that are not finite, the peak."""

    def __init__(self, path: Path, limits: DecodeLimits) -> None:
        self._path, self._limits = path, limits
        self._frames = self._non_finite = 0
        self._peak = 0.0

    def passed(self, blocks: Iterator[tuple[Samples, int]]) -> Iterator[tuple[Samples, int]]:
        for samples, rate in blocks:
            self._frames += len(samples)
            if self._frames > self._limits.max_seconds * rate:
                raise AudioError(self._path, f"over the limit of {self._limits.max_seconds:.0f} s (max_seconds)")
            peak = float(np.abs(samples).max())
            if not np.isfinite(peak):
                self._non_finite += int((~np.isfinite(samples)).sum())
                samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
                peak = float(np.abs(samples).max())
            self._peak = max(self._peak, peak)
            yield (np.clip(samples, -MAX_LEVEL, MAX_LEVEL) if peak > MAX_LEVEL else samples), rate

    def finish(self) -> None:
        if self._non_finite > MAX_NON_FINITE_SHARE * self._frames:
            raise AudioError(self._path, f"{self._non_finite} of {self._frames} samples are NaN or infinite")
        if self._peak < SILENCE_PEAK:
            raise AudioError(self._path, f"silent: no sample above {SILENCE_PEAK:g}")


def _resampled(blocks: Iterator[tuple[Samples, int]], sample_rate: int) -> Iterator[Samples]:
    """Resample a stream with soxr HQ, the very samples of one call over the whole."""
    stream: soxr.ResampleStream | None = None
    held: Samples | None = None
    for samples, rate in blocks:
        if rate == sample_rate:
            yield samples
            continue
        if stream is None:
            stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
        # One block is held back, because soxr must be told which one is the last.
        if held is not None and len(out := stream.resample_chunk(held)):
            yield out
        held = samples
    if stream is not None and held is not None:
        yield stream.resample_chunk(held, last=True)
