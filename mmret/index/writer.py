"""IndexWriter: everything that changes an index, in the order that makes a stop at any moment harmless."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.errors import MmretError
from mmret.index.rows import Encoded, Failed, Outcome, Reused, StoredFile, Touched
from mmret.index.segments_file import NORM_TOLERANCE, Block, Layout, Segment, SegmentAppender, segment_name
from mmret.index.snapshot import FILE_ROWS, find_file, read_segments, stored_file


class IndexWriter:
    """Appends vectors and commits rows; made by `IndexStore.writer`, which holds the lock."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, layout: Layout, segment_bytes: int) -> None:
        self._folder = folder
        self._connection = connection
        self._layout = layout
        self._rows_per_segment = max(1, segment_bytes // layout.row_bytes)
        self._appenders: list[SegmentAppender] = []  # with uncommitted rows, the last one open to more
        self._pending: list[Block] = []

    def file_at(self, path: bytes) -> StoredFile | None:
        """Row of the file at an absolute path."""
        return find_file(self._connection, path)

    def same_content(self, sha256: bytes) -> StoredFile | None:
        """A searchable file with these bytes, if there is one."""
        row = self._connection.execute(
            f"{FILE_ROWS} WHERE sha256 = ? AND status = 'done' ORDER BY file.id", (sha256,)
        ).fetchone()
        return None if row is None else stored_file(row)

    def files_below(self, folder: bytes) -> list[StoredFile]:
        """Files, not gone, at or below an absolute path."""
        inside = folder.rstrip(b"/") + b"/"
        stored = map(stored_file, self._connection.execute(f"{FILE_ROWS} WHERE status != 'gone'"))
        return [file for file in stored if file.path == folder or file.path.startswith(inside)]

    def append(self, vectors: NDArray[np.float32]) -> list[Block]:
        """Write unit vectors (rows, dim) behind the committed ones; nobody sees them before `commit`."""
        assert vectors.ndim == 2 and vectors.shape[1] == self._layout.dim, vectors.shape
        norms = np.linalg.norm(vectors, axis=1)
        assert np.all(np.abs(norms - 1) <= NORM_TOLERANCE), "vectors must be checked before they come here"
        blocks = []
        with self._storage_errors(len(vectors) * self._layout.row_bytes):
            while len(vectors):
                appender = self._open_end()
                room = self._rows_per_segment - appender.rows
                blocks.append(appender.append(vectors[:room]))
                vectors = vectors[room:]
        self._pending += blocks
        return blocks

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
        self._sync()
        with self._transaction() as generation:
            for appender in self._appenders:
                self._put_segment(appender)
            rows = [(block.segment, block.first_row, block.rows, block.crc32) for block in self._pending]
            self._connection.executemany("INSERT INTO block VALUES (?, ?, ?, ?)", rows)
            for outcome in outcomes:
                self._put(outcome, generation)
        self.close()

    def remove(self, files: Iterable[StoredFile], reason: str) -> None:
        """Take files out of every later search; their vectors stay until compaction."""
        with self._transaction() as generation:
            for file in files:
                self._delete_windows(file.id, generation)
                self._connection.execute("UPDATE file SET status = 'gone', reason = ? WHERE id = ?", (reason, file.id))

    def _open_end(self) -> SegmentAppender:
        """The vector file that takes the next row: the last one, or a new one when that is full."""
        if self._appenders:
            last = self._appenders[-1]
            if last.rows < self._rows_per_segment:
                return last
            segment = self._new_segment(after=last.segment.id)
        else:
            stored = read_segments(self._connection)
            full = not stored or stored[-1].sealed or stored[-1].rows >= self._rows_per_segment
            segment = self._new_segment(after=0) if full else stored[-1]
        self._appenders.append(SegmentAppender(self._folder, segment))
        return self._appenders[-1]

    def _new_segment(self, after: int) -> Segment:
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'segment'").fetchone()
        number = max(after, row[0] if row else 0) + 1
        return Segment(number, segment_name(number, self._layout.dtype), 0, self._layout, 0, sealed=False)

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
        with self._transaction():
            self._connection.execute("UPDATE segment SET sealed = 1 WHERE id = ?", (segment.id,))

    def _put_segment(self, appender: SegmentAppender) -> None:
        sealed = int(appender.rows >= self._rows_per_segment)
        crc = appender.crc.to_bytes(4, "big")
        self._connection.execute(
            "INSERT INTO segment VALUES (:id, :name, :rows, :dim, :dtype, :bytes, :crc, :sealed) "
            "ON CONFLICT(id) DO UPDATE SET rows = :rows, bytes = :bytes, crc = :crc, sealed = :sealed",
            {
                "id": appender.segment.id,
                "name": appender.segment.name,
                "rows": appender.rows,
                "dim": self._layout.dim,
                "dtype": self._layout.dtype,
                "bytes": appender.rows * self._layout.row_bytes,
                "crc": crc,
                "sealed": sealed,
            },
        )

    def _put(self, outcome: Outcome, generation: int) -> None:
        if isinstance(outcome, Encoded):
            file = self._put_file(outcome, (outcome.sample_rate, outcome.frames), generation)
            self._put_windows(file, outcome)
        elif isinstance(outcome, Reused):
            query = "SELECT sample_rate, frames FROM file WHERE id = ?"
            length = self._connection.execute(query, (outcome.source,)).fetchone()
            # the source may be the file itself; its windows are read before they are marked as deleted
            query = (
                "SELECT start_s, stop_s, segment, row FROM window WHERE file = ? AND deleted_gen IS NULL ORDER BY id"
            )
            windows = self._connection.execute(query, (outcome.source,)).fetchall()
            file = self._put_file(outcome, length, generation)
            self._insert_windows((file, *window) for window in windows)
        elif isinstance(outcome, Touched):
            values = (outcome.recording.mtime_ns, outcome.file)
            self._connection.execute("UPDATE file SET mtime_ns = ? WHERE id = ?", values)
        else:
            self._put_file(outcome, (None, None), generation)

    def _put_file(
        self, outcome: Encoded | Reused | Failed, length: tuple[int | None, int | None], generation: int
    ) -> int:
        """Insert or replace a file's row, mark its old windows as deleted, and give its id."""
        recording = outcome.recording
        status, reason = ("failed", outcome.reason) if isinstance(outcome, Failed) else ("done", None)
        values = (recording.size, recording.mtime_ns, recording.sha256, *length, status, reason, generation)
        stored = self.file_at(recording.path)
        if stored is not None:
            self._delete_windows(stored.id, generation)
            self._connection.execute(
                "UPDATE file SET size = ?, mtime_ns = ?, sha256 = ?, sample_rate = ?, frames = ?, status = ?, "
                "reason = ?, added_gen = ? WHERE id = ?",
                (*values, stored.id),
            )
            return stored.id
        self._connection.execute("INSERT INTO root(path) VALUES (?) ON CONFLICT(path) DO NOTHING", (recording.root,))
        relative = recording.path[len(recording.root) :].lstrip(b"/")
        cursor = self._connection.execute(
            "INSERT INTO file(root, path, size, mtime_ns, sha256, sample_rate, frames, status, reason, added_gen) "
            "VALUES ((SELECT id FROM root WHERE path = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (recording.root, relative, *values),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _put_windows(self, file: int, outcome: Encoded) -> None:
        places = [(block.segment, block.first_row + offset) for block in outcome.blocks for offset in range(block.rows)]
        assert len(places) == len(outcome.bounds_s), (len(places), len(outcome.bounds_s))
        self._insert_windows((file, *bounds, *place) for bounds, place in zip(outcome.bounds_s, places, strict=True))

    def _insert_windows(self, rows: Iterable[tuple[int, float, float, int, int]]) -> None:
        self._connection.executemany(
            "INSERT INTO window(file, start_s, stop_s, segment, row) VALUES (?, ?, ?, ?, ?)", rows
        )

    def _delete_windows(self, file: int, generation: int) -> None:
        self._connection.execute(
            "UPDATE window SET deleted_gen = ? WHERE file = ? AND deleted_gen IS NULL", (generation, file)
        )

    @contextmanager
    def _transaction(self) -> Iterator[int]:
        """One generation: all of it or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            query = "UPDATE meta SET value = value + 1 WHERE key = 'generation' RETURNING value"
            yield int(self._connection.execute(query).fetchone()[0])
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _storage_errors(self, needed_bytes: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise MmretError(f"{self._folder}: {reason}; {needed_bytes} bytes of vectors were to be written") from error
