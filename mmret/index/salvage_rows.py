"""Rows of a damaged index, one recording at a time: those whose digest is what was written are proved."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmret.errors import IndexCorrupt
from mmret.index.proofs import LIVE_WINDOWS, file_digest
from mmret.index.rows import Recording, WindowRow
from mmret.index.schema import DATABASE, PAGE_SIZE, UNREADABLE, connect_to_read
from mmret.index.seal import read_seal
from mmret.index.segments_file import LAST_RESORT, Layout

MAX_GAP = 1_000_000
MAX_ROWS_BYTES = 2**40
WAYS = ("", " NOT INDEXED")  # the index of the table may be what is damaged
_FILE = (
    "SELECT root.path, file.path, size, mtime_ns, sha256, sample_rate, frames, status, reason "
    "FROM file JOIN root ON root.id = file.root WHERE file.id = ?"
)


@dataclass(frozen=True)
class ProvedFile:
    """A recording whose rows are those that were written, with its live windows in order of id."""

    recording: Recording
    sample_rate: int | None
    frames: int | None
    status: str
    reason: str | None
    windows: list[WindowRow]


@contextmanager
def damaged_rows(folder: Path, beside: Path) -> Iterator[sqlite3.Connection]:
    """The rows of the index in `folder` to read; where their file was cut, a copy next to `beside` filled with zeros.

    SQLite reads nothing at all of a file that is shorter than its first page says.
    """
    with ExitStack() as stack:
        length = _length_before_cut(folder / DATABASE)
        if length is not None:
            beside.parent.mkdir(parents=True, exist_ok=True)
            copy = Path(stack.enter_context(TemporaryDirectory(prefix=f".{beside.name}.rows", dir=beside.parent)))
            for name in (DATABASE, f"{DATABASE}-wal"):
                if (folder / name).exists():
                    shutil.copyfile(folder / name, copy / name)
            os.truncate(copy / DATABASE, length)
            folder = copy
        yield stack.enter_context(closing(connect_to_read(folder)))


def _length_before_cut(database: Path) -> int | None:
    """Bytes that a file of rows had by its first page, None where it still has them all."""
    with database.open("rb") as file:
        header = file.read(100)
    length = int.from_bytes(header[28:32], "big") * PAGE_SIZE
    return length if database.stat().st_size < length <= MAX_ROWS_BYTES else None


def proved_meta(folder: Path, connection: sqlite3.Connection) -> Mapping[str, str]:
    """Facts about the index: those of its seal, or of its rows where the seal is lost."""
    meta: Mapping[str, str] = {}
    try:
        seal = read_seal(folder)
        meta = {} if seal is None else seal.meta
    except IndexCorrupt:
        pass
    try:
        meta = meta or dict(connection.execute("SELECT key, value FROM meta").fetchall())
        Layout(int(meta["dim"]), meta["dtype"])
    except (*UNREADABLE, KeyError, ValueError, TypeError) as error:
        raise IndexCorrupt(f"{folder}: what kind of vectors it holds cannot be read any more. {LAST_RESORT}") from error
    return meta


def file_ids(connection: sqlite3.Connection) -> list[int]:
    """Every file that a readable row speaks of, in order."""
    return sorted(_ids(connection, "file", "id") | _ids(connection, "proof", "file") | _window_files(connection))


def prove_file(connection: sqlite3.Connection, file: int) -> ProvedFile | str:
    """A file as it was written, or its path (its number, where that is lost) if that cannot be proved."""
    proof = _first(connection, "SELECT digest FROM proof WHERE file = ?", file)
    digest = None if proof is None else proof[0]
    for scan in WAYS if digest is not None else ():  # a damaged proof may hold none, and match a file that is gone
        try:
            if file_digest(connection, file, scan=scan) == digest:
                return _read(connection, file, scan)
        except UNREADABLE:
            continue
    row = _first(connection, _FILE, file)
    try:
        return os.fsdecode(row[0].rstrip(b"/") + b"/" + row[1]) if row else f"file {file}"
    except (AttributeError, TypeError):
        return f"file {file}"


def _read(connection: sqlite3.Connection, file: int, scan: str) -> ProvedFile:
    root, path, size, mtime_ns, sha256, sample_rate, frames, status, reason = _first(connection, _FILE, file)
    rows = connection.execute(f"{LIVE_WINDOWS.format(scan=scan)} ORDER BY id", (file,))
    windows = [WindowRow(row[0], file, *row[1:]) for row in rows]
    recording = Recording(root, root.rstrip(b"/") + b"/" + path, size, mtime_ns, sha256)
    return ProvedFile(recording, sample_rate, frames, status, reason, windows)


def _first(connection: sqlite3.Connection, query: str, value: int | str) -> Any:
    """First row of a query, None where there is none or it cannot be read."""
    try:
        return connection.execute(query, (value,)).fetchone()
    except UNREADABLE:
        return None


def _ids(connection: sqlite3.Connection, table: str, key: str) -> set[int]:
    """Keys of a table from both its ends to where it cannot be read, and what is found between them."""
    ends = [_until_damage(connection, f"SELECT {key} FROM {table} ORDER BY {key} {way}") for way in ("ASC", "DESC")]
    found = set(ends[0]) | set(ends[1])
    last, next_ = max(ends[0], default=0), min(ends[1], default=_highest_id(connection) + 1)
    if 1 < next_ - last <= MAX_GAP:
        query = f"SELECT {key} FROM {table} WHERE {key} = ?"
        found |= {between for between in range(last + 1, next_) if _first(connection, query, between)}
    return found


def _highest_id(connection: sqlite3.Connection) -> int:
    """The last id that a file was given, 0 where that cannot be read."""
    row = _first(connection, "SELECT seq FROM sqlite_sequence WHERE name = ?", "file")
    return row[0] if row and isinstance(row[0], int) else 0


def _window_files(connection: sqlite3.Connection) -> set[int]:
    return set(_until_damage(connection, "SELECT file FROM window NOT INDEXED WHERE deleted_gen IS NULL"))


def _until_damage(connection: sqlite3.Connection, query: str) -> list[int]:
    found: list[int] = []
    try:
        for (value,) in connection.execute(query):
            if isinstance(value, int):
                found.append(value)
    except UNREADABLE:
        pass
    return found
