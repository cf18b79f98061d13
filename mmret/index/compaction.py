"""Compaction: live vectors move to new files, and what was removed stops taking space."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.errors import MmretError
from mmret.index import cluster_file
from mmret.index.proofs import put_all_proofs
from mmret.index.segments_file import Block, SegmentMap
from mmret.index.snapshot import read_segments
from mmret.index.store import IndexStore
from mmret.index.writer import IndexWriter

COPY_BYTES = 4 * 2**20
LOG_BYTES_PER_WINDOW = 200  # of SQLite's log, for a row and its two index entries
SPARE_BYTES = 2**20
_ROW_BITS = 40


@dataclass(frozen=True)
class CompactReport:
    """What an index takes after compaction, and what it took before."""

    windows: int
    forgotten: int
    vector_bytes: int
    freed_bytes: int


@dataclass(frozen=True)
class _Plan:
    """Live windows by id (windows,), the stored row of each vector (vectors,), and each window's vector (windows,)."""

    windows: NDArray[np.int64]
    sources: NDArray[np.int64]
    vector_of: NDArray[np.int64]


def compact(store: IndexStore) -> CompactReport:
    """Copy what is live to new vector files in order of id, switch in one generation, delete the old files.

    Every checksum is proved before anything is copied. A stop at any moment leaves the index before or after, and
    files that the next writer deletes; readers keep the generation they have.
    """
    with store.writer() as writer:
        with store.snapshot() as snapshot:
            maps = list(snapshot.maps)  # valid, whatever becomes of the files
        plan = _plan(writer)
        before = sum(part.segment.bytes for part in maps)
        after = len(plan.sources) * writer.layout.row_bytes
        dead = _count(writer, "window WHERE deleted_gen IS NOT NULL")
        forgotten = _count(writer, "file WHERE status = 'gone'")
        if before > after or dead or forgotten:
            _require_space(writer.folder, after + len(plan.windows) * LOG_BYTES_PER_WINDOW + SPARE_BYTES)
            _move(writer, plan, maps)
        return CompactReport(len(plan.windows), forgotten, after, before - after)


def _plan(writer: IndexWriter) -> _Plan:
    rows = writer.connection.execute("SELECT id, segment, row FROM window WHERE deleted_gen IS NULL ORDER BY id")
    flat: NDArray[np.int64] = np.fromiter(chain.from_iterable(rows), np.int64)
    live = flat.reshape(-1, 3)
    places = (live[:, 1] << _ROW_BITS) | live[:, 2]
    # a vector that several files share is copied once, where the first of them comes
    _, first, same = np.unique(places, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return _Plan(live[:, 0], places[np.sort(first)], rank[same.reshape(-1)])


def _count(writer: IndexWriter, rows: str) -> int:
    return int(writer.connection.execute(f"SELECT COUNT(*) FROM {rows}").fetchone()[0])


def _require_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise MmretError(
            f"{folder}: compacting needs {needed_bytes} bytes beside the old vectors, {free_bytes} are free. "
            "Nothing was changed; make room and run it again"
        )


def _move(writer: IndexWriter, plan: _Plan, maps: Sequence[SegmentMap]) -> None:
    """Copy, switch, delete."""
    connection = writer.connection
    old = [(segment.id,) for segment in read_segments(connection)]
    blocks: list[Block] = []
    try:
        if len(plan.sources):
            writer.start_segment()
        for vectors in _copies(plan.sources, maps, max(1, COPY_BYTES // writer.layout.row_bytes)):
            blocks += writer.append_stored(vectors)
        places = _places(blocks)[plan.vector_of]
        with writer.appended():
            connection.execute("DELETE FROM window WHERE deleted_gen IS NOT NULL")
            connection.execute("DELETE FROM proof")
            connection.execute("DELETE FROM file WHERE status = 'gone'")
            moved = zip(places[:, 0].tolist(), places[:, 1].tolist(), plan.windows.tolist(), strict=True)
            connection.executemany("UPDATE window SET segment = ?, row = ? WHERE id = ?", moved)
            put_all_proofs(connection)
            connection.executemany("DELETE FROM block WHERE segment = ?", old)
            connection.executemany("DELETE FROM segment WHERE id = ?", old)
            cluster_file.forget(connection)  # rows are elsewhere now
        cluster_file.delete_unnamed(writer)
    finally:
        writer.discard()
        writer.delete_unnamed()  # the old files after a commit, the new ones without one


def _copies(sources: NDArray[np.int64], maps: Sequence[SegmentMap], rows: int) -> Iterator[NDArray[np.floating]]:
    """Stored vectors of `sources`, at most `rows` at a time."""
    vectors_of = {part.segment.id: part.vectors for part in maps}
    for first in range(0, len(sources), rows):
        some = sources[first : first + rows]
        segments, row = some >> _ROW_BITS, some & (2**_ROW_BITS - 1)
        one = vectors_of[int(segments[0])]
        copied = np.empty((len(some), one.shape[1]), one.dtype)
        for segment in np.unique(segments).tolist():
            there = segments == segment
            copied[there] = vectors_of[segment][row[there]]
        yield copied


def _places(blocks: Sequence[Block]) -> NDArray[np.int64]:
    """Segment and row (vectors, 2) of every vector of `blocks`."""
    counts = [block.rows for block in blocks]
    rows = [np.arange(block.first_row, block.first_row + block.rows) for block in blocks]
    segments = np.repeat(np.array([block.segment for block in blocks], np.int64), counts)
    return np.stack([segments, np.concatenate([np.zeros(0, np.int64), *rows])], axis=1)
