"""Proofs: a digest of all that the rows say about a recording, so that damage is named by recording."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
from collections.abc import Iterator
from typing import Any

DIGEST_BYTES = 16
_WINDOW = struct.Struct("<qddqq")
_FILE = (
    "SELECT root.path, file.path, size, mtime_ns, sha256, sample_rate, frames, status, reason, added_gen "
    "FROM file JOIN root ON root.id = file.root WHERE file.id = ?"
)
LIVE_WINDOWS = "SELECT id, start_s, stop_s, segment, row FROM window{scan} WHERE file = ? AND deleted_gen IS NULL"


def file_digest(connection: sqlite3.Connection, file: int, *, scan: str = "") -> bytes | None:
    """Digest of a file's row and its live windows; None where they are gone or are not what a row can be.

    `scan` " NOT INDEXED" reads every window for it, where an index of the table may be damaged.
    """
    row = connection.execute(_FILE, (file,)).fetchone()
    if row is None:
        return None
    hashed = hashlib.blake2b(digest_size=DIGEST_BYTES)
    try:
        hashed.update(json.dumps([file, *map(_plain, row)]).encode())
        for window in connection.execute(f"{LIVE_WINDOWS.format(scan=scan)} ORDER BY id", (file,)):
            hashed.update(_WINDOW.pack(*window))
    except (TypeError, ValueError, struct.error):
        return None
    return hashed.digest()


def is_proved(connection: sqlite3.Connection, file: int) -> bool:
    """Whether a file's rows are those that were committed."""
    row = connection.execute("SELECT digest FROM proof WHERE file = ?", (file,)).fetchone()
    return row is not None and row[0] is not None and file_digest(connection, file) == row[0]


def put_proof(connection: sqlite3.Connection, file: int) -> None:
    """Note the digest of a file as it is now, in the transaction that changed it."""
    digest = file_digest(connection, file)
    assert digest is not None, file
    connection.execute("INSERT INTO proof VALUES (?, ?) ON CONFLICT(file) DO UPDATE SET digest = ?2", (file, digest))


def put_all_proofs(connection: sqlite3.Connection) -> None:
    """Note the digest of every file."""
    connection.execute("DELETE FROM proof")
    for (file,) in connection.execute("SELECT id FROM file ORDER BY id").fetchall():
        put_proof(connection, file)


def rows_contradictions(connection: sqlite3.Connection) -> Iterator[str]:
    """Faults that SQLite finds in its own file, and rows that name what does not exist."""
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield line
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield f"{table} {row} names a {parent} that does not exist"
    lost = connection.execute(
        "SELECT COUNT(*) FROM window JOIN segment ON segment.id = segment WHERE row < 0 OR row >= segment.rows"
    ).fetchone()[0]
    if lost:
        yield f"{lost} windows name vectors that were never committed"


def unproved(connection: sqlite3.Connection) -> Iterator[int]:
    """Ids of files whose rows are not those that were committed, and of proofs without a file."""
    rows = connection.execute(
        "SELECT file.id, digest FROM file LEFT JOIN proof ON proof.file = file.id "
        "UNION ALL SELECT file, NULL FROM proof WHERE file NOT IN (SELECT id FROM file) ORDER BY 1"
    ).fetchall()
    for file, digest in rows:
        if digest is None or file_digest(connection, file) != digest:
            yield file


def _plain(value: Any) -> Any:
    """A column as JSON holds it: bytes in hexadecimal."""
    return value.hex() if isinstance(value, bytes) else value
