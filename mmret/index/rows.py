"""What goes into an index and comes out of it, as named values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmret.index.segments_file import Block


@dataclass(frozen=True)
class Recording:
    """Identity of a file: absolute path and the folder it was found under (bytes), size, time and content."""

    root: bytes
    path: bytes
    size: int
    mtime_ns: int
    sha256: bytes | None = None


@dataclass(frozen=True)
class StoredFile:
    """Row of a file that was indexed, failed, or is gone; `path` is absolute."""

    id: int
    path: bytes
    size: int
    mtime_ns: int
    sha256: bytes | None
    status: str
    reason: str | None


@dataclass(frozen=True)
class Encoded:
    """A recording whose window vectors, in order of `bounds_s`, were appended as `blocks`."""

    recording: Recording
    sample_rate: int
    frames: int
    bounds_s: Sequence[tuple[float, float]]
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Reused:
    """A recording with the very bytes of a stored file: its windows name the same vectors."""

    recording: Recording
    source: int


@dataclass(frozen=True)
class Touched:
    """A stored file with a new time and its old content."""

    recording: Recording
    file: int


@dataclass(frozen=True)
class Failed:
    """A recording that cannot be indexed, and why."""

    recording: Recording
    reason: str


Outcome = Encoded | Reused | Touched | Failed


@dataclass(frozen=True)
class WindowRow:
    """A live window: its file, its time, and the segment row that holds its vector."""

    id: int
    file: int
    start_s: float
    stop_s: float
    segment: int
    row: int


@dataclass(frozen=True)
class Totals:
    """Counts of an index: files by status, live windows, audio behind them, bytes of vectors."""

    files: int
    failed: int
    windows: int
    seconds: float
    vector_bytes: int
