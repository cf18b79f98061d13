"""Vectors of an index: append-only files of unit float32 rows, each append followed by its checksum."""

from __future__ import annotations

import mmap
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.errors import IndexCorrupt

VECTORS = "vectors"
DTYPE = "f32"
SEGMENT_BYTES = 256 * 2**20
NORM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Segment:
    """Committed state of one vector file; `crc` is the running crc32 over its `rows` rows."""

    id: int
    name: str
    rows: int
    dim: int
    crc: int
    sealed: bool

    @property
    def bytes(self) -> int:
        """Committed length; what lies behind it was never acknowledged."""
        return self.rows * self.dim * 4


@dataclass(frozen=True)
class Block:
    """One append: `rows` rows of a segment from `first_row` on, and their crc32."""

    segment: int
    first_row: int
    rows: int
    crc32: int


def segment_name(segment: int) -> str:
    """File name of a segment inside the vectors folder."""
    return f"{segment:06d}.{DTYPE}"


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
            raise IndexCorrupt(f"{self.path} holds {size} bytes, {segment.bytes} were committed")
        if size > segment.bytes:  # left over by a writer that never committed
            os.ftruncate(self._descriptor, segment.bytes)

    def append(self, vectors: NDArray[np.float32]) -> Block:
        """Write vectors (rows, dim) behind the last row; durable only after `sync`."""
        payload = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
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
    """Committed rows of one vector file as a read-only array (rows, dim), checked against their checksums."""

    def __init__(self, folder: Path, segment: Segment) -> None:
        self.segment = segment
        self.path = folder / VECTORS / segment.name
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise IndexCorrupt(f"{self.path} is missing; {segment.rows} vectors were committed to it") from None
        try:
            size = os.fstat(descriptor).st_size
            if size < segment.bytes:
                raise IndexCorrupt(f"{self.path} holds {size} bytes, {segment.bytes} were committed")
            self._map = mmap.mmap(descriptor, segment.bytes, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        self.vectors: NDArray[np.float32] = np.frombuffer(self._map, dtype="<f4").reshape(segment.rows, segment.dim)

    def verify(self, blocks: list[Block]) -> None:
        """Raise IndexCorrupt at the first block whose bytes are not those that were committed."""
        for block in blocks:
            rows = self.vectors[block.first_row : block.first_row + block.rows]
            if len(rows) != block.rows or zlib.crc32(rows.view(np.uint8).data) != block.crc32:
                offset = block.first_row * self.segment.dim * 4
                raise IndexCorrupt(
                    f"{self.path}: vectors of rows {block.first_row} to {block.first_row + block.rows - 1} "
                    f"(offset {offset}) are damaged. Index the recordings anew"
                )
