"""What a reader sees: rows and vectors of one generation."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmret.errors import IndexCorrupt
from mmret.index.proofs import is_proved, rows_contradictions, unproved
from mmret.index.rows import StoredFile, Totals, WindowRow
from mmret.index.schema import read_generation
from mmret.index.segments_file import Block, Layout, Segment, SegmentMap, segment_name

FILE_ROWS = (
    "SELECT file.id, root.path, file.path, size, mtime_ns, sha256, status, reason "
    "FROM file JOIN root ON root.id = file.root"
)
_ROWS_PER_QUERY = 500


class Snapshot:
    """Reads inside one transaction of `connection`; `maps` holds the vectors committed in it."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, *, covered: bool) -> None:
        self.folder = folder
        self._covered = covered  # by a seal, when the index was opened
        self.maps: list[SegmentMap] = []
        self._connection = connection
        self.generation = read_generation(folder, connection)

    def segments(self) -> list[Segment]:
        """Vector files that hold committed rows, in order of creation."""
        return [segment for segment in read_segments(self._connection) if segment.rows]

    def blocks(self, segment: int) -> list[Block]:
        """Appends of a segment, in order."""
        query = "SELECT segment, first_row, rows, crc32 FROM block WHERE segment = ? ORDER BY first_row"
        return [Block(*row) for row in self._connection.execute(query, (segment,))]

    def windows_at(self, segment: int, rows: Sequence[int]) -> list[WindowRow]:
        """Live windows whose vectors are `rows` of a segment; files of equal content share a vector."""
        found: list[WindowRow] = []
        for first in range(0, len(rows), _ROWS_PER_QUERY):
            some = rows[first : first + _ROWS_PER_QUERY]
            marks = ",".join("?" * len(some))
            found += self._windows(f"segment = ? AND row IN ({marks})", (segment, *some))
        return found

    def files_using(self, segment: int, rows: range) -> list[int]:
        """Ids of the files of whose live windows a vector is one of `rows` of a segment, in order."""
        query = (
            "SELECT DISTINCT file FROM window WHERE segment = ? AND row >= ? AND row < ? AND deleted_gen IS NULL "
            "ORDER BY file"
        )
        return [file for (file,) in self._connection.execute(query, (segment, rows.start, rows.stop))]

    def windows_of(self, file: int) -> list[WindowRow]:
        """Live windows of a file, in order of id."""
        return self._windows("file = ?", (file,))

    def windows_between(self, file: int, start_s: float, stop_s: float) -> list[WindowRow]:
        """Live windows of a file that reach into or touch a span, in order of id."""
        return self._windows("file = ? AND stop_s >= ? AND start_s <= ?", (file, start_s, stop_s))

    def _windows(self, condition: str, values: Sequence[float]) -> list[WindowRow]:
        query = (
            "SELECT id, file, start_s, stop_s, segment, row FROM window "
            f"WHERE {condition} AND deleted_gen IS NULL ORDER BY id"
        )
        return [WindowRow(*row) for row in self._connection.execute(query, values)]

    def files(self) -> Iterator[StoredFile]:
        """Every file row, by path within root."""
        for row in self._connection.execute(f"{FILE_ROWS} ORDER BY root.path, file.path"):
            yield stored_file(row)

    def paths_of(self, files: Iterable[int]) -> dict[int, bytes]:
        """Absolute paths of files by id; the rows of each are proved, unless the seal did that for all."""
        paths = {}
        for file in files:
            row = self._connection.execute(f"{FILE_ROWS} WHERE file.id = ?", (file,)).fetchone()
            if row is None:
                raise IndexCorrupt(f"{self.folder}: windows name file {file}, which has no row")
            if not self._covered and not is_proved(self._connection, file):
                raise IndexCorrupt(f"{self.folder}: what is kept about file {file} is not what was written")
            paths[file] = stored_file(row).path
        return paths

    def file_at(self, path: bytes) -> StoredFile | None:
        """Row of the file at an absolute path."""
        return find_file(self._connection, path)

    def cache_row(self, kind: str) -> tuple[str, bytes] | None:
        """File name and SHA-256 of the newest cache of a kind."""
        query = "SELECT name, sha256 FROM cache WHERE kind = ? ORDER BY generation DESC"
        row: tuple[str, bytes] | None = self._connection.execute(query, (kind,)).fetchone()
        return row

    def totals(self) -> Totals:
        """Counts of what is searchable and what failed."""
        one = self._connection.execute
        files, seconds = one(
            "SELECT COUNT(*), COALESCE(SUM(1.0 * frames / sample_rate), 0) FROM file WHERE status = 'done'"
        ).fetchone()
        failed = one("SELECT COUNT(*) FROM file WHERE status = 'failed'").fetchone()[0]
        size = sum(segment.bytes for segment in self.segments())
        return Totals(files, failed, self.window_count(), seconds, size)

    def window_count(self) -> int:
        """Number of live windows."""
        return int(self._connection.execute("SELECT COUNT(*) FROM window WHERE deleted_gen IS NULL").fetchone()[0])

    def problems_of_rows(self) -> list[str]:
        """Rows that contradict themselves or each other, and recordings whose rows are not proved."""
        problems = [f"rows: {problem}" for problem in rows_contradictions(self._connection)]
        for file in unproved(self._connection):
            row = self._connection.execute(f"{FILE_ROWS} WHERE file.id = ?", (file,)).fetchone()
            name = "" if row is None else f" ({os.fsdecode(stored_file(row).path)})"
            problems.append(f"rows: what is kept about file {file}{name} is not what was written")
        return problems


def read_segments(connection: sqlite3.Connection) -> list[Segment]:
    """Every segment row; its length must follow from its rows."""
    segments = []
    query = "SELECT id, name, rows, dim, crc, sealed, bytes, dtype FROM segment ORDER BY id"
    for id_, name, rows, dim, crc, sealed, size, dtype in connection.execute(query):
        try:
            segment = Segment(id_, name, rows, Layout(dim, dtype), int.from_bytes(crc, "big"), bool(sealed))
        except ValueError as error:
            raise IndexCorrupt(f"the row of vector file {id_} ({name!r}) is damaged: {error}") from error
        # the name becomes a path: nothing but our own may
        if segment.bytes != size or name != segment_name(id_, dtype):
            raise IndexCorrupt(f"the row of vector file {id_} ({name!r}) contradicts itself")
        segments.append(segment)
    return segments


def find_file(connection: sqlite3.Connection, path: bytes) -> StoredFile | None:
    """Row of the file at an absolute path, under whichever root it was found."""
    folder = _parent(path)
    while True:
        relative = path[len(folder) :].lstrip(b"/")
        row = connection.execute(f"{FILE_ROWS} WHERE root.path = ? AND file.path = ?", (folder, relative)).fetchone()
        if row is not None:
            return stored_file(row)
        parent = _parent(folder)
        if parent == folder:
            return None
        folder = parent


def stored_file(row: Sequence[Any]) -> StoredFile:
    """File from a row of FILE_ROWS."""
    id_, root, path, size, mtime_ns, sha256, status, reason = row
    return StoredFile(id_, root.rstrip(b"/") + b"/" + path, size, mtime_ns, sha256, status, reason)


def _parent(path: bytes) -> bytes:
    """Folder of an absolute path; bytes, as file names need not be text."""
    return path.rpartition(b"/")[0] or b"/"
