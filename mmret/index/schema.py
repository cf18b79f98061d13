"""The rows of an index: SQLite tables, how they are created, and what an opened file must look like."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from mmret.errors import IndexCorrupt, IndexFormatError, IndexLocked, IndexReadOnly, MmretError
from mmret.index.place import may_write, read_only
from mmret.index.segments_file import LAST_RESORT, holds_vectors, how_to_save

FORMAT = 2
APPLICATION_ID = 0x6D6D7265  # "mmre"
DATABASE = "index.sqlite"
PAGE_SIZE = 4096

_FORMAT_1 = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE root(id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB NOT NULL UNIQUE) STRICT",
    (
        "CREATE TABLE file(id INTEGER PRIMARY KEY AUTOINCREMENT, root INTEGER NOT NULL REFERENCES root(id), "
        "path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 BLOB, sample_rate INTEGER, "
        "frames INTEGER, status TEXT NOT NULL CHECK(status IN ('done', 'failed', 'gone')), reason TEXT, "
        "added_gen INTEGER NOT NULL, UNIQUE(root, path)) STRICT"
    ),
    (
        "CREATE TABLE segment(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, rows INTEGER NOT NULL, "
        "dim INTEGER NOT NULL, dtype TEXT NOT NULL, bytes INTEGER NOT NULL, crc BLOB NOT NULL, "
        "sealed INTEGER NOT NULL) STRICT"
    ),
    (
        "CREATE TABLE block(segment INTEGER NOT NULL REFERENCES segment(id), first_row INTEGER NOT NULL, "
        "rows INTEGER NOT NULL, crc32 INTEGER NOT NULL, PRIMARY KEY(segment, first_row)) STRICT"
    ),
    (
        "CREATE TABLE window(id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL REFERENCES file(id), "
        "start_s REAL NOT NULL, stop_s REAL NOT NULL, segment INTEGER NOT NULL REFERENCES segment(id), "
        "row INTEGER NOT NULL, deleted_gen INTEGER) STRICT"
    ),
    (
        "CREATE TABLE cache(kind TEXT NOT NULL, generation INTEGER NOT NULL, name TEXT NOT NULL, sha256 BLOB NOT NULL, "
        "recall REAL, PRIMARY KEY(kind, generation)) STRICT"
    ),
    "CREATE INDEX file_sha256 ON file(sha256)",
    "CREATE INDEX window_file ON window(file)",
    "CREATE INDEX window_place ON window(segment, row)",
)

PROOF_TABLE = "CREATE TABLE proof(file INTEGER PRIMARY KEY REFERENCES file(id), digest BLOB NOT NULL) STRICT"
TABLES = {1: _FORMAT_1, 2: (*_FORMAT_1, PROOF_TABLE)}

# what damaged rows raise; the second for text, even that of an error message, that is not UTF-8
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)

_LIMITS = {
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 50,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}


@contextmanager
def sqlite_errors(folder: Path, advice: str | None = None) -> Iterator[None]:
    """Turn what SQLite and open files report about `folder` into errors that a caller can act on.

    `advice` is what to do about damaged rows where that is not to salvage the rest.
    """
    advice = advice or how_to_save(folder)
    try:
        yield
    except sqlite3.OperationalError as error:
        name = getattr(error, "sqlite_errorname", None)
        if name is None:  # raised by the module itself, e.g. text that is not UTF-8: the bytes are wrong
            raise IndexCorrupt(f"{folder / DATABASE}: {error}. {advice}") from error
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise IndexLocked(f"{folder}: another process is writing to its rows; try again later") from error
        if name.startswith("SQLITE_READONLY") or (name == "SQLITE_CANTOPEN" and not may_write(folder)):
            raise read_only(folder) from error
        raise MmretError(f"{folder / DATABASE}: {error} ({name}). Check the free space and the disk") from error
    except UNREADABLE as error:
        raise IndexCorrupt(f"{folder / DATABASE} is damaged: {error}. {advice}") from error
    except OSError as error:
        if error.filename is None:  # of a call on an open file: say at least which index it belongs to
            raise MmretError(f"{folder}: {error.strerror}. Check the free space and the disk") from error
        raise


class _Rows(sqlite3.Connection):
    """A connection; one without locks knows size and time of the file that it reads."""

    unlocked: tuple[int, int] | None = None


def connect(folder: Path, mode: str) -> _Rows:
    """Open the rows of `folder` for mode "ro" or "rw", with every safety switch set; transactions are explicit."""
    uri = f"file:{quote(os.fsencode(folder / DATABASE))}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0, factory=_Rows
    )
    try:
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA synchronous=FULL")
        synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
        assert synchronous == 2, synchronous
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(folder: Path) -> sqlite3.Connection:
    """Read-only connection; where the folder cannot be written to, one that needs no side files and no locks."""
    try:
        return connect(folder, "ro")  # the first statements look for the side files
    except sqlite3.OperationalError as error:
        # what a busy writer or a lack of open files reports must not lead to reading without locks
        if not error.sqlite_errorname.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")) or may_write(folder):
            raise
        log = folder / f"{DATABASE}-wal"
        if log.exists() and log.stat().st_size:
            raise IndexReadOnly(
                f"{folder} cannot be written to by this user, and its latest changes are still in {log.name}, which "
                "cannot be read there. Copy the whole folder to a place of your own and use the copy"
            ) from error
    # A writer at work would have made the side files, and beside those a connection with locks is possible.
    stamp = _stamp(folder)
    connection = connect(folder, "ro&immutable=1")
    connection.unlocked = stamp
    return connection


def require_unchanged(folder: Path, connection: sqlite3.Connection) -> None:
    """Raise IndexLocked if rows that are read without locks were changed since their connection was made."""
    if isinstance(connection, _Rows) and connection.unlocked not in {None, _stamp(folder)}:
        raise IndexLocked(f"{folder} was changed since it was opened, in a place that can only be read; open it again")


def _stamp(folder: Path) -> tuple[int, int]:
    status = (folder / DATABASE).stat()
    return status.st_size, status.st_mtime_ns


def create(folder: Path, meta: Mapping[str, str]) -> None:
    """Write an empty index's rows into `folder`: complete under a temporary name, then renamed."""
    unfinished = folder / f"{DATABASE}.new"
    for left_over in folder.glob(f"{DATABASE}.new*"):
        left_over.unlink()
    with sqlite_errors(folder), closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size={PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={FORMAT}")
        for statement in TABLES[FORMAT]:
            connection.execute(statement)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    unfinished.rename(folder / DATABASE)


def sync_log(folder: Path) -> None:
    """Put what SQLite has logged on the disk; the log's own file holds no locks, so opening it here is safe."""
    log = folder / f"{DATABASE}-wal"
    if log.exists():
        descriptor = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def lost_rows(folder: Path) -> IndexCorrupt:
    """What to tell whoever has the vectors of an index alone."""
    return IndexCorrupt(
        f"{folder} has lost its rows: {DATABASE} is not there, and vectors alone cannot be searched. {LAST_RESORT}"
    )


def require(folder: Path) -> None:
    """Refuse a folder that is no index at all."""
    if (folder / DATABASE).is_file():
        return
    make = f"Make one with: mmret index PATH --to {folder}"
    if holds_vectors(folder):
        raise lost_rows(folder)
    if not folder.exists():
        reason = f"there is no such folder. {make}"
    elif not folder.is_dir():
        reason = "an index is a folder, and this is a file"
    elif any(folder.iterdir()):
        reason = f"it holds other files. If they are recordings, run: mmret index {folder} --to indexes/sounds"
    else:
        reason = f"it is empty. {make}"
    raise IndexFormatError(f"{folder} is no index: {reason}")


def check_header(folder: Path) -> None:
    """Refuse anything but an index of this format or an older one, from 100 bytes, before SQLite sees the file."""
    path = folder / DATABASE
    with path.open("rb") as file:
        header = file.read(100)
    application_id = int.from_bytes(header[68:72], "big")
    if not header.startswith(b"SQLite format 3\0") or len(header) < 100 or application_id != APPLICATION_ID:
        if holds_vectors(folder):
            raise IndexCorrupt(f"{path} is damaged: it does not begin as the rows of an index do. {LAST_RESORT}")
        raise IndexFormatError(f"{path} was not made by mmret: {folder} is no index")
    version = int.from_bytes(header[60:64], "big")
    if version not in TABLES:
        raise IndexFormatError(
            f"{folder} was made by another mmret, format {version}; this mmret reads {FORMAT}. "
            "Open it with that version, or index the recordings anew"
        )


def read_version(connection: sqlite3.Connection) -> int:
    """Format number of the rows; newer than that of the header while it is still in the log."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_version(folder: Path, connection: sqlite3.Connection) -> None:
    """Refuse a format that has to be migrated first."""
    version = read_version(connection)
    if version != FORMAT:
        raise IndexFormatError(
            f"{folder} has the older index format {version}; this mmret reads {FORMAT}. Bring it up to date, which "
            f"keeps its vectors and needs no recordings: mmret migrate {folder}"
        )


def read_generation(folder: Path, connection: sqlite3.Connection) -> int:
    """Number of commits so far."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
    try:
        return int(row[0])
    except (TypeError, ValueError) as error:
        raise IndexCorrupt(f"{folder / DATABASE}: the table meta is damaged") from error


def check_tables(folder: Path, connection: sqlite3.Connection, version: int = FORMAT) -> None:
    """Compare the stored schema with ours, statement by statement: nothing foreign may run or hide in it."""
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    stored = {row[0] for row in rows if row[0] != "CREATE TABLE sqlite_sequence(name,seq)"}
    if version not in TABLES or stored != set(TABLES[version]):
        raise IndexCorrupt(
            f"{folder / DATABASE}: its tables are not those of an mmret index of format {version}. {LAST_RESORT}"
        )
