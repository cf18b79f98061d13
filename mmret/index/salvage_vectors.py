"""Vectors of a damaged index: those under a checksum that still holds are proved."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmret.index.schema import UNREADABLE
from mmret.index.segments_file import VECTORS, Layout, segment_name

_READ_BYTES = 2**24


class ProvedVectors:
    """Reads vectors (rows, dim) by place (segment, row), as far as a checksum vouches for them."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, layout: Layout) -> None:
        self._folder = folder
        self._connection = connection
        self._layout = layout
        self._stored: dict[int, NDArray[Any]] = {}
        self._whole: dict[int, NDArray[np.bool_]] = {}

    def proved(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """For each place (vectors, 2) whether its vector is the one that was written."""
        whole = np.zeros(len(places), bool)
        for segment in np.unique(places[:, 0]).tolist():
            there = places[:, 0] == segment
            known = self._proved_rows(segment)
            rows = places[there, 1]
            inside = (rows >= 0) & (rows < len(known))
            whole[there] = inside & known[np.where(inside, rows, 0)] if len(known) else False
        return whole

    def read(self, places: NDArray[np.int64], rows: int) -> Iterator[NDArray[np.floating[Any]]]:
        """Vectors of proved places (vectors, 2), at most `rows` at a time."""
        for first in range(0, len(places), rows):
            some = places[first : first + rows]
            vectors = np.empty((len(some), self._layout.dim), self._layout.numbers)
            for segment in np.unique(some[:, 0]).tolist():
                there = some[:, 0] == segment
                vectors[there] = self._stored[segment][some[there, 1]]
            yield vectors

    def _proved_rows(self, segment: int) -> NDArray[np.bool_]:
        if segment not in self._whole:
            stored = self._open(segment)
            self._stored[segment] = stored
            self._whole[segment] = self._by_segment(segment, stored) | self._by_block(segment, stored)
        return self._whole[segment]

    def _open(self, segment: int) -> NDArray[Any]:
        """Whole rows of a vector file, none where it is missing."""
        path = self._folder / VECTORS / segment_name(segment, self._layout.dtype)
        try:
            rows = path.stat().st_size // self._layout.row_bytes
        except OSError:
            rows = 0
        if not rows:
            return np.zeros((0, self._layout.dim), self._layout.numbers)
        return np.memmap(path, self._layout.numbers, mode="r", shape=(rows, self._layout.dim))

    def _by_segment(self, segment: int, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Rows under the running checksum of the file, which holds all of them or none."""
        whole = np.zeros(len(stored), bool)
        for rows, crc in self._rows("SELECT rows, crc FROM segment WHERE id = ?", segment):
            if isinstance(rows, int) and 0 < rows <= len(stored) and isinstance(crc, bytes):
                whole[:rows] = _crc(stored[:rows]) == int.from_bytes(crc, "big")
        return whole

    def _by_block(self, segment: int, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Rows under the checksum of one append."""
        whole = np.zeros(len(stored), bool)
        for first, rows, crc in self._rows("SELECT first_row, rows, crc32 FROM block WHERE segment = ?", segment):
            sane = isinstance(first, int) and isinstance(rows, int) and first >= 0 and rows > 0
            if sane and first + rows <= len(stored) and not whole[first : first + rows].all():
                whole[first : first + rows] |= _crc(stored[first : first + rows]) == crc
        return whole

    def _rows(self, query: str, segment: int) -> Iterator[tuple[Any, ...]]:
        """Rows of a query up to where the table cannot be read."""
        try:
            yield from self._connection.execute(query, (segment,))
        except UNREADABLE:
            return


def _crc(stored: NDArray[Any]) -> int:
    """The crc32 of the bytes of vectors (rows, dim)."""
    crc = 0
    step = max(1, _READ_BYTES // (stored.shape[1] * stored.itemsize))
    for first in range(0, len(stored), step):
        crc = zlib.crc32(np.ascontiguousarray(stored[first : first + step]).view(np.uint8).data, crc)
    return crc
