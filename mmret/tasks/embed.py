"""Vectors of recordings in one .npz file, for everyone who only wants features.

The file holds paths (n,), vectors (n, dim) float32, the model's name and its fingerprint; of timestamps also start_s
and stop_s (n,). Nothing in it is pickled. Vectors are spooled to the disk, so memory has a bound.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mmret.errors import AudioError, MmretError
from mmret.tasks.recordings import FailedFile
from mmret.tasks.writable import check_writable

Vectors = NDArray[np.float32]

_BLOCK = 2**22  # bytes that are copied at once
_PATHS_AT_ONCE = 1000


class FeatureEncoder(Protocol):
    """What embedding needs of an encoder; `mmret.Encoder` is one."""

    name: str
    fingerprint: str

    def open_audio(self) -> None:
        """Make ready to encode recordings."""

    @property
    def scene_dim(self) -> int:
        """Numbers in a vector."""

    def encode_scenes(self, recordings: Any) -> Vectors:
        """One vector a recording."""

    def encode_timestamps(self, recording: Any) -> Iterable[Any]:
        """Rows with start_s, stop_s and vector, in order."""


@dataclass
class EmbedReport:
    """How many recordings and vectors were written, and which recordings could not be used."""

    recordings: int = 0
    vectors: int = 0
    failed: list[FailedFile] = field(default_factory=list)


@dataclass(frozen=True)
class _Row:
    """One vector (dim,) and where it lies."""

    vector: Vectors
    start_s: float = 0.0
    stop_s: float = 0.0


def embed_scenes(encoder: FeatureEncoder, files: Iterable[Path | FailedFile], out: Path) -> EmbedReport:
    """Write one vector a recording."""
    return _embed(encoder, files, out, lambda path: [_Row(encoder.encode_scenes([path])[0])], timed=False)


def embed_timestamps(encoder: FeatureEncoder, files: Iterable[Path | FailedFile], out: Path) -> EmbedReport:
    """Write the vectors of every time column (M2D on torch) or window (other models), with their times in seconds."""

    def rows(path: Path) -> Iterator[_Row]:
        return (_Row(one.vector, one.start_s, one.stop_s) for one in encoder.encode_timestamps(path))

    return _embed(encoder, files, out, rows, timed=True)


def refuse_unusable(out: Path) -> None:
    """MmretError where no file can be written at `out`; told before any work is done."""
    if out.is_dir():
        raise MmretError(f"{out} is a folder; name a file in it, such as {out / 'vectors.npz'}")
    check_writable(out)


def _embed(
    encoder: FeatureEncoder,
    files: Iterable[Path | FailedFile],
    out: Path,
    rows_of: Callable[[Path], Iterable[_Row]],
    *,
    timed: bool,
) -> EmbedReport:
    """Write `out`, whole or not at all; where no recording could be used nothing is written."""
    report = EmbedReport()
    refuse_unusable(out)
    encoder.open_audio()  # a damaged model is told once, and is no fault of any recording
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        spool, times = Path(scratch) / "vectors", Path(scratch) / "times"
        counts: list[tuple[str, int]] = []
        with spool.open("wb") as vectors, times.open("wb") as spans:
            for file in files:
                outcome = file if isinstance(file, FailedFile) else _spooled(file, rows_of, vectors, spans)
                if isinstance(outcome, FailedFile):
                    report.failed.append(outcome)
                else:
                    counts.append((str(file), outcome))
        report.recordings, report.vectors = len(counts), sum(count for _, count in counts)
        if not report.vectors:
            return report
        whole = Path(scratch) / "whole.npz"
        with zipfile.ZipFile(whole, "w") as archive:
            _write_paths(archive, counts)
            with spool.open("rb") as stored:
                _write(archive, "vectors", np.dtype("<f4"), (report.vectors, encoder.scene_dim), stored)
            if timed:
                _write_times(archive, np.fromfile(times, "<f8").reshape(-1, 2))
            for name in ("name", "fingerprint"):
                _write_array(archive, "model" if name == "name" else name, np.array(getattr(encoder, name)))
        whole.chmod(0o644)
        whole.replace(out)
    return report


def _spooled(
    path: Path, rows_of: Callable[[Path], Iterable[_Row]], vectors: IO[bytes], spans: IO[bytes]
) -> int | FailedFile:
    """Append a recording's rows and count them; one that fails on the way leaves none."""
    starts, count = (vectors.tell(), spans.tell()), 0
    try:
        for row in rows_of(path):
            vectors.write(np.ascontiguousarray(row.vector, "<f4").tobytes())
            spans.write(np.array([row.start_s, row.stop_s], "<f8").tobytes())
            count += 1
        return count
    except AudioError as error:
        failed = FailedFile(path, error.reason)
    except (MmretError, OSError) as error:
        failed = FailedFile(path, str(error))
    for spool, start in zip((vectors, spans), starts, strict=True):
        spool.seek(start)
        spool.truncate()
    return failed


def _write(archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], data: IO[bytes]) -> None:
    """One array of the archive, copied block by block."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        npy.write_array_header_1_0(member, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
        while block := data.read(_BLOCK):
            member.write(block)


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        npy.write_array(member, array, allow_pickle=False)


def _write_times(archive: zipfile.ZipFile, spans: NDArray[np.float64]) -> None:
    for column, name in enumerate(("start_s", "stop_s")):
        _write_array(archive, name, np.ascontiguousarray(spans[:, column]))


def _write_paths(archive: zipfile.ZipFile, counts: list[tuple[str, int]]) -> None:
    """The path of each row, compressed: a path takes the room of the longest, and many rows share one."""
    dtype = np.dtype(f"<U{max(len(path) for path, _ in counts)}")
    shape = (sum(count for _, count in counts),)
    info = zipfile.ZipInfo("paths.npy")
    info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as member:
        npy.write_array_header_1_0(member, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
        for path, count in counts:
            for start in range(0, count, _PATHS_AT_ONCE):
                member.write(np.full(min(_PATHS_AT_ONCE, count - start), path, dtype).tobytes())
