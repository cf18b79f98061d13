"""Vectors of an index: append-only files of unit rows, float32 or float16, each append with its checksum."""

from __future__ import annotations

import mmap
import os
import re
import zlib
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmret.errors import IndexCorrupt

VECTORS = "vectors"
SEGMENT_BYTES = 256 * 2**20
NORM_TOLERANCE = 1e-3
LAST_RESORT = "Restore it from a backup, or index the recordings again into another folder"
ROUNDING = {"f32": 0.0, "f16": 2.0**-11}  # how much storing may change a norm
_SEGMENT_FILE = re.compile(r"\d{6,}\.(f32|f16)")
_NUMBERS: dict[str, np.dtype[Any]] = {"f32": np.dtype("<f4"), "f16": np.dtype("<f2")}


@dataclass(frozen=True)
class Layout:
    """How every vector of an index is stored: `dim` numbers of `dtype`, "f32" or "f16".

    >>> Layout(384, "f16").row_bytes
    768
    """

    dim: int
    dtype: str = "f32"

    def __post_init__(self) -> None:
        """Refuse a layout that cannot be stored."""
        if self.dim < 1:
            raise ValueError(f"dim is {self.dim}, it must be at least 1")
        if self.dtype not in _NUMBERS:
            raise ValueError(f"dtype is {self.dtype!r}, it must be one of {', '.join(_NUMBERS)}")

    @property
    def numbers(self) -> np.dtype[Any]:
        """The numpy type of one number, little-endian."""
        return _NUMBERS[self.dtype]

    @property
    def row_bytes(self) -> int:
        """Bytes of one vector."""
        return self.dim * self.numbers.itemsize

    @property
    def norm_tolerance(self) -> float:
        """How far the norm of a stored vector may be from 1."""
        return NORM_TOLERANCE + ROUNDING[self.dtype]


@dataclass(frozen=True)
class Segment:
    """Committed state of one vector file; `crc` is the running crc32 over its `rows` rows."""

    id: int
    name: str
    rows: int
    layout: Layout
    crc: int
    sealed: bool

    @property
    def bytes(self) -> int:
        """Committed length; what lies behind it was never acknowledged."""
        return self.rows * self.layout.row_bytes


@dataclass(frozen=True)
class Block:
    """One append: `rows` rows of a segment from `first_row` on, and their crc32."""

    segment: int
    first_row: int
    rows: int
    crc32: int


def segment_name(segment: int, dtype: str) -> str:
    """File name of a segment inside the vectors folder."""
    return f"{segment:06d}.{dtype}"


def how_to_save(folder: Path) -> str:
    """Sentence for whoever has a damaged index."""
    return f"Save what is whole with: mmret salvage {folder} OUT"


def holds_vectors(folder: Path) -> bool:
    """Whether `folder` is or was an index with vectors, whatever became of its rows."""
    return (folder / VECTORS).is_dir() and bool(unnamed_files(folder, frozenset()))


def unnamed_files(folder: Path, names: Set[str]) -> list[Path]:
    """Vector files of the index in `folder` that are not among `names`; files of another pattern are not ours."""
    files = sorted((folder / VECTORS).iterdir())
    return [path for path in files if _SEGMENT_FILE.fullmatch(path.name) and path.name not in names]


def sync_folder(folder: Path) -> None:
    """Make the names inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SegmentAppender:
    """Open end of one vector file, behind its committed rows."""

    def __init__(self, folder: Path, segment: Segment) -> None:
        self.path = folder / VECTORS / segment.name
        self.segment = segment
        self.rows = segment.rows
        self.crc = segment.crc
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        size = os.fstat(self._descriptor).st_size
        if size < segment.bytes:
            os.close(self._descriptor)
            raise IndexCorrupt(f"{self.path} holds {size} bytes, {segment.bytes} were committed. {how_to_save(folder)}")
        if size > segment.bytes:  # left over by a writer that never committed
            os.ftruncate(self._descriptor, segment.bytes)

    def append(self, vectors: NDArray[np.float32]) -> Block:
        """Write vectors (rows, dim) behind the last row; durable only after `sync`."""
        payload = np.ascontiguousarray(vectors, dtype=self.segment.layout.numbers).tobytes()
        view = memoryview(payload)
        while view:  # a write may be short
            view = view[os.write(self._descriptor, view) :]
        block = Block(self.segment.id, self.rows, len(vectors), zlib.crc32(payload))
        self.rows += len(vectors)
        self.crc = zlib.crc32(payload, self.crc)
        return block

    def sync(self) -> None:
        """Put every appended row, and a new file's name, on the disk."""
        os.fdatasync(self._descriptor)
        if self.segment.rows == 0:
            sync_folder(self.path.parent)

    def close(self) -> None:
        """Close the file; rows that were not committed are cut at the next append."""
        os.close(self._descriptor)


class SegmentMap:
    """Committed rows of one vector file as a read-only array (rows, dim) as stored, checked by their checksums."""

    def __init__(self, folder: Path, segment: Segment) -> None:
        self.segment = segment
        self.path = folder / VECTORS / segment.name
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise IndexCorrupt(
                f"{self.path} is missing; {segment.rows} vectors were committed to it. {how_to_save(folder)}"
            ) from None
        try:
            size = os.fstat(descriptor).st_size
            if size < segment.bytes:
                raise IndexCorrupt(
                    f"{self.path} holds {size} bytes, {segment.bytes} were committed. {how_to_save(folder)}"
                )
            self._map = mmap.mmap(descriptor, segment.bytes, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        stored = np.frombuffer(self._map, dtype=segment.layout.numbers)
        self.vectors: NDArray[np.floating[Any]] = stored.reshape(segment.rows, segment.layout.dim)

    def verify(self, blocks: list[Block]) -> None:
        """Raise IndexCorrupt at the first block whose bytes are not those that were committed."""
        for block in blocks:
            rows = self.vectors[block.first_row : block.first_row + block.rows]
            if len(rows) != block.rows or zlib.crc32(rows.view(np.uint8).data) != block.crc32:
                offset = block.first_row * self.segment.layout.row_bytes
                raise IndexCorrupt(
                    f"{self.path}: vectors of rows {block.first_row} to {block.first_row + block.rows - 1} "
                    f"(offset {offset}) are damaged. {how_to_save(self.path.parent.parent)}"
                )
