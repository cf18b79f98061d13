"""Indexes as older versions of mmret wrote them; formats/N.sql is a dump that the version of format N left."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

FORMATS = Path(__file__).parent / "formats"
APPLICATION_ID = 0x6D6D7265


def write_old_index(folder: Path, version: int) -> Path:
    """An index of a format: files a, c\\xff, d (a copy of a), e (failed), b (removed), three windows each."""
    (folder / "vectors").mkdir(parents=True)
    (folder / "LOCK").touch()
    vectors = bytes.fromhex((FORMATS / f"{version}.vectors").read_text())
    (folder / "vectors" / "000001.f32").write_bytes(vectors)
    with closing(sqlite3.connect(folder / "index.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size=4096")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={version}")
        connection.executescript((FORMATS / f"{version}.sql").read_text())
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder
