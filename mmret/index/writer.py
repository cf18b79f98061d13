"""IndexWriter: everything that changes an index, in the order that makes a stop at any moment harmless."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.errors import MmretError
from mmret.index import row_writer, schema
from mmret.index.reuse import ReusableVectors
from mmret.index.rows import Outcome, StoredFile
from mmret.index.segments_file import (
    NORM_TOLERANCE,
    Block,
    Layout,
    Segment,
    SegmentAppender,
    segment_name,
    unnamed_files,
)
from mmret.index.snapshot import FILE_ROWS, find_file, read_segments, stored_file


class IndexWriter:
    """Appends vectors and commits rows; made by `IndexStore.writer`, which holds the lock."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, layout: Layout, segment_bytes: int) -> None:
        self.folder = folder
        self.connection = connection
        self.layout = layout
        self.rows_per_segment = max(1, segment_bytes // layout.row_bytes)
        self._appenders: list[SegmentAppender] = []  # with uncommitted rows, the last one open to more
        self._pending: list[Block] = []
        self._reusable = ReusableVectors(folder, connection)

    def file_at(self, path: bytes) -> StoredFile | None:
        """Row of the file at an absolute path."""
        return find_file(self.connection, path)

    def same_content(self, sha256: bytes) -> StoredFile | None:
        """A searchable file with these bytes whose vectors are still what was written, if there is one."""
        rows = self.connection.execute(
            f"{FILE_ROWS} WHERE sha256 = ? AND status = 'done' ORDER BY file.id", (sha256,)
        ).fetchall()
        return next((stored_file(row) for row in rows if self._reusable.hold(row[0])), None)

    def files_below(self, folder: bytes) -> list[StoredFile]:
        """Files, not gone, at or below an absolute path."""
        inside = folder.rstrip(b"/") + b"/"
        stored = map(stored_file, self.connection.execute(f"{FILE_ROWS} WHERE status != 'gone'"))
        return [file for file in stored if file.path == folder or file.path.startswith(inside)]

    def append(self, vectors: NDArray[np.float32]) -> list[Block]:
        """Write unit vectors (rows, dim) behind the committed ones; nobody sees them before `commit`."""
        assert vectors.ndim == 2 and vectors.shape[1] == self.layout.dim, vectors.shape
        norms = np.linalg.norm(vectors, axis=1)
        assert np.all(np.abs(norms - 1) <= NORM_TOLERANCE), "vectors must be checked before they come here"
        return self._append(vectors)

    def append_stored(self, vectors: NDArray[np.floating]) -> list[Block]:
        """As `append`, for vectors (rows, dim) that were stored before, to the same bits."""
        assert vectors.dtype == self.layout.numbers, vectors.dtype
        return self._append(vectors)

    def discard(self) -> None:
        """Forget what was appended since the last commit; the bytes are cut at the next append."""
        self.close()

    def close(self) -> None:
        """Let go of the vector files."""
        for appender in self._appenders:
            appender.close()
        self._appenders, self._pending = [], []

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        """Make recordings and their vectors durable and visible in one step; a changed file's old windows go."""
        with self.appended() as number:
            for outcome in outcomes:
                row_writer.put_outcome(self.connection, outcome, number)

    @contextmanager
    def appended(self) -> Iterator[int]:
        """One generation that holds what was appended, and whatever rows the block changes."""
        self._sync()
        with row_writer.generation(self.connection) as number:
            for appender in self._appenders:
                sealed = appender.rows >= self.rows_per_segment
                row_writer.put_segment(self.connection, appender, sealed=sealed)
            row_writer.put_blocks(self.connection, self._pending)
            yield number
        self.close()

    def put_fact(self, key: str, value: str) -> None:
        """Keep a fact of the caller's in `meta`, in place of the one that was there."""
        with row_writer.generation(self.connection):
            query = "INSERT INTO meta VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value"
            self.connection.execute(query, (key, value))

    def remove(self, files: Iterable[StoredFile], reason: str) -> None:
        """Take files out of every later search; their vectors stay until compaction."""
        with row_writer.generation(self.connection) as number:
            for file in files:
                row_writer.remove_file(self.connection, file.id, reason, number)

    def start_segment(self) -> None:
        """Leave the committed vector files as they are: what is appended next goes to a new one."""
        assert not self._appenders, "between commits only"
        self._appenders.append(SegmentAppender(self.folder, self._new_segment(after=0)))

    def delete_unnamed(self) -> None:
        """Delete vector files that no row names: left over by a compaction that was stopped."""
        unnamed = unnamed_files(self.folder, {segment.name for segment in read_segments(self.connection)})
        if not unnamed:
            return
        # What the rows say may still be on its way to the disk, if its writer was killed: it must not be lost alone.
        schema.sync_log(self.folder)
        for path in unnamed:
            with contextlib.suppress(OSError):  # they do no harm, and the next writer tries again
                path.unlink()

    def _append(self, vectors: NDArray[np.floating]) -> list[Block]:
        blocks = []
        with self._storage_errors(len(vectors) * self.layout.row_bytes):
            while len(vectors):
                appender = self._open_end()
                room = self.rows_per_segment - appender.rows
                blocks.append(appender.append(vectors[:room]))
                vectors = vectors[room:]
        self._pending += blocks
        return blocks

    def _open_end(self) -> SegmentAppender:
        """The vector file that takes the next row: the last one, or a new one when that is full."""
        if self._appenders:
            last = self._appenders[-1]
            if last.rows < self.rows_per_segment:
                return last
            segment = self._new_segment(after=last.segment.id)
        else:
            stored = read_segments(self.connection)
            full = not stored or stored[-1].sealed or stored[-1].rows >= self.rows_per_segment
            segment = self._new_segment(after=0) if full else stored[-1]
        self._appenders.append(SegmentAppender(self.folder, segment))
        return self._appenders[-1]

    def _new_segment(self, after: int) -> Segment:
        row = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'segment'").fetchone()
        number = max(after, row[0] if row else 0) + 1
        return Segment(number, segment_name(number, self.layout.dtype), 0, self.layout, 0, sealed=False)

    def _sync(self) -> None:
        """Put vectors on the disk BEFORE any row names them."""
        for appender in self._appenders:
            try:
                appender.sync()
            except OSError as error:
                # After a failed sync the kernel may have dropped the pages: never trust this file's end again.
                self._seal(appender.segment)
                self.close()
                raise MmretError(f"{appender.path} could not be written to the disk: {error}") from error

    def _seal(self, segment: Segment) -> None:
        with row_writer.generation(self.connection):
            self.connection.execute("UPDATE segment SET sealed = 1 WHERE id = ?", (segment.id,))

    @contextmanager
    def _storage_errors(self, needed_bytes: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise MmretError(f"{self.folder}: {reason}; {needed_bytes} bytes of vectors were to be written") from error
