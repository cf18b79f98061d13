"""From the format of an older mmret to the present one: a chain of single steps, each one transaction."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from mmret.errors import IndexCorrupt
from mmret.index import schema
from mmret.index.lock import WriterLock
from mmret.index.place import refuse_network
from mmret.index.proofs import put_all_proofs, rows_contradictions
from mmret.index.row_writer import generation
from mmret.index.seal import prove, replace_durably, settle

log = logging.getLogger(__name__)


def _add_proofs(connection: sqlite3.Connection) -> None:
    """Format 2: a digest of each recording's rows."""
    connection.execute(schema.PROOF_TABLE)
    put_all_proofs(connection)


# a step changes format N, its key, to N + 1; steps stay for ever, so that every index ever made opens
STEPS: Mapping[int, Callable[[sqlite3.Connection], None]] = {1: _add_proofs}


def migrate(folder: Path) -> int:
    """Bring the index in `folder` to the present format and give the one it had.

    The old rows are kept beside the new ones, as index.sqlite.formatN. A stop at any moment leaves a whole index of
    one format or another, and the same call goes on from there.
    """
    schema.require(folder)
    schema.check_header(folder)
    refuse_network(folder)
    with WriterLock(folder), schema.sqlite_errors(folder), closing(schema.connect(folder, "rw")) as connection:
        had = schema.read_version(connection)
        if had == schema.FORMAT:
            return had
        schema.check_tables(folder, connection, had)
        _prove(folder, connection, had)
        replace_durably(folder / f"{schema.DATABASE}.format{had}", connection.serialize())
        for version in range(had, schema.FORMAT):
            with generation(connection):
                STEPS[version](connection)
                connection.execute("UPDATE meta SET value = ? WHERE key = 'format'", (str(version + 1),))
                connection.execute(f"PRAGMA user_version={version + 1}")
            log.info("%s: format %d became %d", folder, version, version + 1)
        settle(folder, connection)
    return had


def _prove(folder: Path, connection: sqlite3.Connection, version: int) -> None:
    """Refuse damaged rows, as far as their format can tell: from here on they would pass as proved."""
    if version > 1:
        prove(folder, connection)
        return
    problem = next(rows_contradictions(connection), None)
    if problem is not None:
        raise IndexCorrupt(f"{folder / schema.DATABASE} is damaged: {problem}")
