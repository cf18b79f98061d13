"""Formats that libsndfile does not read, through an ffmpeg child process where ffmpeg is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mmret.errors import AudioError

FFMPEG_SUFFIXES = frozenset(
    [".m4a", ".mp4", ".m4b", ".aac", ".wma", ".webm", ".mka", ".mkv", ".mov", ".amr", ".ac3", ".3gp"]
)
_FORMATS = "aac,ac3,amr,asf,eac3,matroska,mov"  # no play lists: they name other files, which ffmpeg would open
_TRUNCATED = ("partial file", "ended prematurely")  # what it says to a file that is cut, and goes on
_PREFIX = re.compile(r"^(\[[^]]*\] )+")  # the part of ffmpeg that speaks, with its address in memory
_BLOCK_BYTES = 4 * 65_536
_CPU_LIMIT_S = 600


def ffmpeg_blocks(path: Path, sample_rate: int) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Mono blocks at sample_rate, and the rate; the reader counts them against its budgets.

    The child may open this file alone: no other protocol, no standard input, and it ends with the generator.
    """
    with TemporaryFile() as messages, _child(path, sample_rate, messages) as child:
        assert child.stdout is not None
        arrived = 0
        try:
            while data := child.stdout.read(_BLOCK_BYTES):
                arrived += len(data)
                yield np.frombuffer(data[: len(data) // 4 * 4], "<f4").astype(np.float32), sample_rate
            code = child.wait()
        finally:
            child.kill()
        messages.seek(0)
        lines = [_PREFIX.sub("", line) for line in messages.read().decode(errors="replace").strip().splitlines()]
        cut = next((line for line in lines if any(sign in line for sign in _TRUNCATED)), None)
        if cut is not None:
            raise AudioError(path, f"truncated: {cut}")
        if code or not arrived:
            reason = lines[-1] if lines else f"exit code {code}" if code else "no sound in it"
            raise AudioError(path, f"cannot be decoded by ffmpeg: {reason}")


def _child(path: Path, sample_rate: int, messages: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start ffmpeg. Its messages go into a file: a pipe that nobody reads would fill up and stop it."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(path, f"{path.suffix} needs ffmpeg, which is not installed (Debian: apt install ffmpeg)")
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-format_whitelist", _FORMATS]
    command += ["-i", f"file:{path}", "-map", "0:a:0", "-ac", "1", "-ar", str(sample_rate), "-f", "f32le", "-"]
    limited = ["prlimit", f"--cpu={_CPU_LIMIT_S}"] if shutil.which("prlimit") else []
    return subprocess.Popen([*limited, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages)
