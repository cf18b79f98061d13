"""Formats that libsndfile does not read, through an ffmpeg child process where ffmpeg is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.errors import AudioError

FFMPEG_SUFFIXES = frozenset(
    [".m4a", ".mp4", ".m4b", ".aac", ".wma", ".webm", ".mka", ".mkv", ".mov", ".amr", ".ac3", ".3gp"]
)
_BLOCK_BYTES = 4 * 65_536
_CPU_LIMIT_S = 600


def ffmpeg_blocks(path: Path, sample_rate: int) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Mono blocks at sample_rate, and the rate; the reader counts them against its budgets.

    The child may open this file alone: no other protocol, no standard input, and it ends with the generator.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(path, f"{path.suffix} needs ffmpeg, which is not installed (Debian: apt install ffmpeg)")
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]
    command += ["-map", "0:a:0", "-ac", "1", "-ar", str(sample_rate), "-f", "f32le", "-"]
    limited = ["prlimit", f"--cpu={_CPU_LIMIT_S}"] if shutil.which("prlimit") else []
    with subprocess.Popen(
        [*limited, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        try:
            arrived = 0
            while data := child.stdout.read(_BLOCK_BYTES):
                arrived += len(data)
                yield np.frombuffer(data[: len(data) // 4 * 4], "<f4").astype(np.float32), sample_rate
        finally:
            child.kill()
        reason = child.stderr.read().decode(errors="replace").strip().splitlines()
        if arrived == 0:
            raise AudioError(path, f"cannot be decoded by ffmpeg: {reason[-1] if reason else 'no sound in it'}")
