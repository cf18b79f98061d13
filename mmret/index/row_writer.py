"""Changes to the rows of an index, each inside a transaction that is one generation."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mmret.index.proofs import put_proof
from mmret.index.rows import Encoded, Failed, Outcome, Reused, Touched
from mmret.index.segments_file import Block, SegmentAppender
from mmret.index.snapshot import find_file


@contextmanager
def generation(connection: sqlite3.Connection) -> Iterator[int]:
    """One transaction, all of it or nothing; gives the number of the generation that it makes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        query = "UPDATE meta SET value = value + 1 WHERE key = 'generation' RETURNING value"
        yield int(connection.execute(query).fetchone()[0])
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def put_segment(connection: sqlite3.Connection, appender: SegmentAppender, *, sealed: bool) -> None:
    """Name what was appended to a vector file and synced as committed."""
    layout = appender.segment.layout
    connection.execute(
        "INSERT INTO segment VALUES (:id, :name, :rows, :dim, :dtype, :bytes, :crc, :sealed) "
        "ON CONFLICT(id) DO UPDATE SET rows = :rows, bytes = :bytes, crc = :crc, sealed = :sealed",
        {
            "id": appender.segment.id,
            "name": appender.segment.name,
            "rows": appender.rows,
            "dim": layout.dim,
            "dtype": layout.dtype,
            "bytes": appender.rows * layout.row_bytes,
            "crc": appender.crc.to_bytes(4, "big"),
            "sealed": int(sealed),
        },
    )


def put_blocks(connection: sqlite3.Connection, blocks: Iterable[Block]) -> None:
    """Keep the checksums of appends."""
    rows = ((block.segment, block.first_row, block.rows, block.crc32) for block in blocks)
    connection.executemany("INSERT INTO block VALUES (?, ?, ?, ?)", rows)


def put_outcome(connection: sqlite3.Connection, outcome: Outcome, number: int) -> None:
    """Insert or replace what came of a recording, in generation `number`."""
    if isinstance(outcome, Encoded):
        file = _put_file(connection, outcome, (outcome.sample_rate, outcome.frames), number)
        places = [(block.segment, block.first_row + offset) for block in outcome.blocks for offset in range(block.rows)]
        assert len(places) == len(outcome.bounds_s), (len(places), len(outcome.bounds_s))
        pairs = zip(outcome.bounds_s, places, strict=True)
        _insert_windows(connection, ((file, *bounds, *place) for bounds, place in pairs))
    elif isinstance(outcome, Reused):
        query = "SELECT sample_rate, frames FROM file WHERE id = ?"
        length = connection.execute(query, (outcome.source,)).fetchone()
        # the source may be the file itself; its windows are read before they are marked as deleted
        query = "SELECT start_s, stop_s, segment, row FROM window WHERE file = ? AND deleted_gen IS NULL ORDER BY id"
        windows = connection.execute(query, (outcome.source,)).fetchall()
        file = _put_file(connection, outcome, length, number)
        _insert_windows(connection, ((file, *window) for window in windows))
    elif isinstance(outcome, Touched):
        file = outcome.file
        connection.execute("UPDATE file SET mtime_ns = ? WHERE id = ?", (outcome.recording.mtime_ns, file))
    else:
        file = _put_file(connection, outcome, (None, None), number)
    put_proof(connection, file)


def remove_file(connection: sqlite3.Connection, file: int, reason: str, number: int) -> None:
    """Take a file and its windows out of every later search."""
    _delete_windows(connection, file, number)
    connection.execute("UPDATE file SET status = 'gone', reason = ? WHERE id = ?", (reason, file))
    put_proof(connection, file)


def _put_file(
    connection: sqlite3.Connection,
    outcome: Encoded | Reused | Failed,
    length: tuple[int | None, int | None],
    number: int,
) -> int:
    """Insert or replace a file's row, mark its old windows as deleted, and give its id."""
    recording = outcome.recording
    status, reason = ("failed", outcome.reason) if isinstance(outcome, Failed) else ("done", None)
    values = (recording.size, recording.mtime_ns, recording.sha256, *length, status, reason, number)
    stored = find_file(connection, recording.path)
    if stored is not None:
        _delete_windows(connection, stored.id, number)
        connection.execute(
            "UPDATE file SET size = ?, mtime_ns = ?, sha256 = ?, sample_rate = ?, frames = ?, status = ?, "
            "reason = ?, added_gen = ? WHERE id = ?",
            (*values, stored.id),
        )
        return stored.id
    connection.execute("INSERT INTO root(path) VALUES (?) ON CONFLICT(path) DO NOTHING", (recording.root,))
    relative = recording.path[len(recording.root) :].lstrip(b"/")
    cursor = connection.execute(
        "INSERT INTO file(root, path, size, mtime_ns, sha256, sample_rate, frames, status, reason, added_gen) "
        "VALUES ((SELECT id FROM root WHERE path = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (recording.root, relative, *values),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _insert_windows(connection: sqlite3.Connection, rows: Iterable[tuple[int, float, float, int, int]]) -> None:
    connection.executemany("INSERT INTO window(file, start_s, stop_s, segment, row) VALUES (?, ?, ?, ?, ?)", rows)


def _delete_windows(connection: sqlite3.Connection, file: int, number: int) -> None:
    query = "UPDATE window SET deleted_gen = ? WHERE file = ? AND deleted_gen IS NULL"
    connection.execute(query, (number, file))
