"""The seal: checksums of every page of the rows as of one generation, in a file beside them."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmret.errors import IndexCorrupt
from mmret.index import schema
from mmret.index.proofs import rows_contradictions, unproved
from mmret.index.segments_file import how_to_save, sync_folder

log = logging.getLogger(__name__)

SEAL = "index.seal"
MAX_SEAL_BYTES = 2**28
NO_GENERATION = -1


@dataclass(frozen=True)
class Seal:
    """What the rows were in `generation`: the facts of `meta` and the crc32 of each page."""

    generation: int
    meta: Mapping[str, str]
    page_crcs: bytes


def write_seal(folder: Path, connection: sqlite3.Connection) -> None:
    """Seal the rows as they are now, if they changed since the last seal; durable when this returns."""
    connection.execute("BEGIN")
    try:
        meta = dict(connection.execute("SELECT key, value FROM meta ORDER BY key").fetchall())
        generation = schema.read_generation(folder, connection)
        if _last_generation(folder) == generation:
            return
        page_crcs = _page_crcs(connection)
    finally:
        connection.execute("COMMIT")
    body = json.dumps({"generation": generation, "meta": meta, "pages": page_crcs.hex()}).encode()
    # A seal must never outlive the rows that it speaks of: they may have come from a writer that was killed.
    schema.sync_log(folder)
    replace_durably(folder / SEAL, body + b"\n" + _crc_line(body))


def settle(folder: Path, connection: sqlite3.Connection) -> None:
    """Leave the rows sealed, and all of them in the one file; what was committed holds even where this fails."""
    try:
        write_seal(folder, connection)
        connection.execute("PRAGMA busy_timeout=100")  # a reader may keep the log from shrinking: no matter
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (OSError, sqlite3.Error) as error:
        log.warning("%s: all is committed, but could not be sealed: %s", folder, error)


def replace_durably(path: Path, content: bytes) -> None:
    """Put a whole file in the place of `path`; after a power cut it is the old one or the new one."""
    unfinished = path.with_name(f"{path.name}.new")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)


def read_seal(folder: Path) -> Seal | None:
    """The seal beside the rows, None where there is none."""
    path = folder / SEAL
    try:
        if path.stat().st_size > MAX_SEAL_BYTES:
            raise IndexCorrupt(f"{path} is too long to be a seal. {_WITHOUT}")
        body, _, crc = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if crc != _crc_line(body):
        raise IndexCorrupt(f"{path} is damaged. {_WITHOUT}")
    try:
        content = json.loads(body)
        return Seal(int(content["generation"]), dict(content["meta"]), bytes.fromhex(content["pages"]))
    except (ValueError, TypeError, KeyError) as error:
        raise IndexCorrupt(f"{path} is no seal. {_WITHOUT}") from error


def prove(folder: Path, connection: sqlite3.Connection) -> bool:
    """Raise IndexCorrupt unless the rows are those that were sealed, or newer; at the state of one moment.

    False where they are newer because a writer is at work, or was killed: then SQLite's log holds checksums of what it
    holds, and the rest is for `prove_each` or for whoever uses a recording's rows.
    """
    while True:
        seal = read_seal(folder)  # before the rows: what it speaks of was committed then
        connection.execute("BEGIN")
        try:
            if _is_ahead(folder, connection, seal):
                return False
            problem = _problem(folder, connection, seal)
        finally:
            connection.execute("COMMIT")
        if problem is None:
            return True
        if read_seal(folder) == seal:  # else a writer was at work meanwhile
            raise IndexCorrupt(problem)


def prove_each(folder: Path, connection: sqlite3.Connection) -> None:
    """Raise IndexCorrupt unless every recording's rows are proved; much slower than a seal, and needs none."""
    try:
        seal = read_seal(folder)
    except IndexCorrupt:
        seal = None
    problem = _contradiction(folder / schema.DATABASE, connection, seal)
    if problem is not None:
        raise IndexCorrupt(problem)


def _is_ahead(folder: Path, connection: sqlite3.Connection, seal: Seal | None) -> bool:
    """Whether the rows are newer than their seal, with the log of a writer beside them."""
    log_file = folder / f"{schema.DATABASE}-wal"
    newer = schema.read_generation(folder, connection) > (NO_GENERATION if seal is None else seal.generation)
    return newer and log_file.exists() and log_file.stat().st_size > 0


def _problem(folder: Path, connection: sqlite3.Connection, seal: Seal | None) -> str | None:
    generation = schema.read_generation(folder, connection)
    sealed = NO_GENERATION if seal is None else seal.generation
    database = folder / schema.DATABASE
    if generation < sealed:
        return (
            f"{database} is of generation {generation}, but {sealed} was reached: {schema.DATABASE}-wal or a part of "
            f"it is lost. {_WITHOUT}"
        )
    if seal is not None and generation == sealed:
        return _damaged_page(database, _page_crcs(connection), seal.page_crcs)
    return _contradiction(database, connection, seal)


def _damaged_page(database: Path, found: bytes, sealed: bytes) -> str | None:
    if found == sealed:
        return None
    pages = max(len(found), len(sealed)) // 4
    page = next(page for page in range(pages) if found[4 * page : 4 * page + 4] != sealed[4 * page : 4 * page + 4])
    return f"{database} is damaged at offset {page * schema.PAGE_SIZE}. {how_to_save(database.parent)}"


def _contradiction(database: Path, connection: sqlite3.Connection, seal: Seal | None) -> str | None:
    """What is wrong with rows that no seal covers and no writer left; slower than a seal."""
    advice = how_to_save(database.parent)
    for problem in rows_contradictions(connection):
        return f"{database} is damaged: {problem}. {advice}"
    for file in unproved(connection):
        return f"{database} is damaged: what it says about file {file} is not what was written. {advice}"
    if seal is not None:
        meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        changing = {"generation", "format", "model"}
        if any(meta.get(key) != value for key, value in seal.meta.items() if key not in changing):
            return f"{database}: the table meta is damaged. {advice}"
    return None


def _page_crcs(connection: sqlite3.Connection) -> bytes:
    """The crc32 of each page, 4 bytes each, as this connection sees them: log included."""
    content = memoryview(connection.serialize())
    pages = range(0, len(content), schema.PAGE_SIZE)
    return b"".join(zlib.crc32(content[page : page + schema.PAGE_SIZE]).to_bytes(4, "little") for page in pages)


def _last_generation(folder: Path) -> int | None:
    try:
        seal = read_seal(folder)
    except IndexCorrupt:
        return None
    return None if seal is None else seal.generation


def _crc_line(body: bytes) -> bytes:
    return b"%08x\n" % zlib.crc32(body)


_WITHOUT = f"Delete {SEAL} to open the index without this proof, and run: mmret check"
