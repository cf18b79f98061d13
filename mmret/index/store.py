"""IndexStore: an index folder, opened for reading at once and for writing when asked."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mmret.errors import IndexCorrupt, IndexFormatError, MmretError
from mmret.index import schema
from mmret.index.lock import LOCK, WriterLock
from mmret.index.place import may_write, refuse_network
from mmret.index.seal import prove, prove_each, settle
from mmret.index.segments_file import SEGMENT_BYTES, VECTORS, Layout, SegmentMap, holds_vectors, sync_folder
from mmret.index.snapshot import Snapshot
from mmret.index.writer import IndexWriter


class IndexStore:
    """Rows and vectors of one index folder. Threads may share it; processes may not (see `open`)."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, meta: Mapping[str, str]) -> None:
        self.folder = folder
        self.meta = dict(meta)
        self.segment_bytes = SEGMENT_BYTES
        self._connection = connection
        self._maps: dict[int, SegmentMap] = {}
        self._verified: set[tuple[int, int]] = set()
        self._guard = threading.RLock()
        self._pid = os.getpid()
        self._closed = False
        self._covered = False

    @classmethod
    def create(cls, folder: Path, *, dim: int, meta: Mapping[str, str], dtype: str = "f32") -> IndexStore:
        """Make an empty index in a folder that is new or empty, and open it; `meta` is the caller's to read back.

        `dtype` "f16" halves the vectors and rounds each number to 11 bits.
        """
        layout = Layout(dim, dtype)
        refuse_network(folder)
        _make_folder(folder)
        if not may_become_index(folder):
            if holds_vectors(folder):
                raise schema.lost_rows(folder)
            raise IndexFormatError(f"{folder} holds other files: it is no index, and none is made in it")
        with WriterLock(folder), schema.sqlite_errors(folder):
            if not (folder / schema.DATABASE).exists():  # else another process was faster: open what it made
                (folder / VECTORS).mkdir(exist_ok=True)
                own = {
                    "format": str(schema.FORMAT),
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    "dim": str(layout.dim),
                    "dtype": layout.dtype,
                    "generation": "0",
                }
                schema.create(folder, {**meta, **own})
                sync_folder(folder)
                sync_folder(folder.parent)
                with closing(schema.connect(folder, "rw")) as connection:
                    settle(folder, connection)
        return cls.open(folder)

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether `folder` holds an index, of whatever format."""
        return (folder / schema.DATABASE).is_file()

    @classmethod
    def open(cls, folder: Path) -> IndexStore:
        """Open an index for reading, its rows proved; after a fork the child opens its own."""
        store = cls.open_unproved(folder)
        try:
            store.prove()
            with store._reading(store._map):
                pass
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open_unproved(cls, folder: Path) -> IndexStore:
        """Open an index in which bytes may be damaged, to look for them; `open` is for every other use."""
        schema.require(folder)
        schema.check_header(folder)
        with schema.sqlite_errors(folder):
            connection = schema.connect_to_read(folder)
            try:
                schema.check_version(folder, connection)
                schema.check_tables(folder, connection)
                meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
                store = cls(folder, connection, meta)
                _check_meta(folder, meta)
            except BaseException:
                connection.close()
                raise
        return store

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self.layout.dim

    @property
    def layout(self) -> Layout:
        """How a vector is stored."""
        return Layout(int(self.meta["dim"]), self.meta["dtype"])

    def prove(self) -> None:
        """Raise IndexCorrupt unless the rows are those that were committed."""
        with self._guard, schema.sqlite_errors(self.folder):
            self._check_usable()
            try:
                self._covered = prove(self.folder, self._connection)
            finally:
                schema.require_unchanged(self.folder, self._connection)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One consistent state from start to end, whatever a writer does meanwhile, with its vectors mapped."""
        with self._reading(self._map_and_verify) as snapshot:
            yield snapshot

    @contextmanager
    def rows(self) -> Iterator[Snapshot]:
        """As `snapshot`, without the vectors."""
        with self._reading(lambda snapshot: None) as snapshot:
            yield snapshot

    @contextmanager
    def _reading(self, prepare: Callable[[Snapshot], None]) -> Iterator[Snapshot]:
        """One generation, after `prepare` found in it all that it needs."""
        with self._guard, schema.sqlite_errors(self.folder):
            self._check_usable()
            assert not self._connection.in_transaction, "reads do not nest"
            try:
                yield self._begin(prepare)
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")
                schema.require_unchanged(self.folder, self._connection)

    def _begin(self, prepare: Callable[[Snapshot], None]) -> Snapshot:
        failed_at = -1
        while True:
            self._connection.execute("BEGIN")
            snapshot = Snapshot(self.folder, self._connection, covered=self._covered)
            try:
                prepare(snapshot)
                return snapshot
            except IndexCorrupt:
                # a compaction may have deleted the files of this generation since: then there is a newer one
                if snapshot.generation == failed_at:
                    raise
                failed_at = snapshot.generation
                self._connection.execute("COMMIT")

    def _map(self, snapshot: Snapshot) -> None:
        """Give `snapshot` its segments, and let go of those that no longer exist."""
        segments = snapshot.segments()
        for gone in self._maps.keys() - {segment.id for segment in segments}:
            del self._maps[gone]
        for segment in segments:
            if segment.layout != self.layout:
                raise IndexCorrupt(f"{self.folder}: {segment.name} holds vectors of another kind than the index")
            known = self._maps.get(segment.id)
            if known is None or known.segment.rows != segment.rows:
                self._maps[segment.id] = SegmentMap(self.folder, segment)
            snapshot.maps.append(self._maps[segment.id])

    def _map_and_verify(self, snapshot: Snapshot) -> None:
        """As `_map`; each block's checksum is computed once in the life of this store."""
        self._map(snapshot)
        for vectors in snapshot.maps:
            blocks = snapshot.blocks(vectors.segment.id)
            fresh = [block for block in blocks if (block.segment, block.first_row) not in self._verified]
            vectors.verify(fresh)
            self._verified.update((block.segment, block.first_row) for block in fresh)

    @contextmanager
    def writer(self) -> Iterator[IndexWriter]:
        """The right to write, held until the block ends; IndexLocked when another has it."""
        self._check_usable()
        refuse_network(self.folder)
        with (
            WriterLock(self.folder),
            schema.sqlite_errors(self.folder),
            closing(schema.connect(self.folder, "rw")) as connection,
        ):
            schema.check_version(self.folder, connection)
            # before anything is built on them; after a writer was killed no seal covers the rows
            if not prove(self.folder, connection):
                prove_each(self.folder, connection)
            try:
                with closing(IndexWriter(self.folder, connection, self.layout, self.segment_bytes)) as writer:
                    writer.delete_unnamed()
                    yield writer
            finally:
                settle(self.folder, connection)

    def close(self) -> None:
        """Close the rows; maps stay valid for arrays still in use."""
        self._closed = True
        self._connection.close()
        self._maps.clear()

    def _check_usable(self) -> None:
        if self._closed:
            raise MmretError(f"{self.folder}: this index is closed; open it again")
        if os.getpid() != self._pid:
            raise MmretError(f"{self.folder} was opened before a fork; open it again in this process")


def may_become_index(folder: Path) -> bool:
    """Whether `folder` is empty but for what a stopped creation leaves (or holds an index already)."""
    if (folder / schema.DATABASE).exists():
        return True
    for entry in folder.iterdir():
        ours = entry.name == LOCK or entry.name.startswith(f"{schema.DATABASE}.new")
        if not ours and not (entry.name == VECTORS and entry.is_dir() and not any(entry.iterdir())):
            return False
    return True


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not may_write(folder) and not IndexStore.exists(folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except FileExistsError:
        raise IndexFormatError(f"{folder} is a file; an index is a folder, new or empty") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise IndexFormatError(f"no index can be made at {folder}: {reason}. Choose another place") from error


def _check_meta(folder: Path, meta: Mapping[str, str]) -> None:
    """Refuse rows that contradict the format."""
    try:
        Layout(int(meta["dim"]), meta["dtype"])
        sound = int(meta["generation"]) >= 0 and meta["format"] == str(schema.FORMAT)
    except (KeyError, ValueError):
        sound = False
    if not sound:
        raise IndexCorrupt(f"{folder / schema.DATABASE}: the table meta is damaged")
