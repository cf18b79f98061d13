"""What SQLite and the system report becomes an error that a caller can act on."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mmret.errors import IndexCorrupt, IndexLocked, IndexReadOnly, MmretError
from mmret.index import schema
from tests.index.made_up import new_store


def operational(name: str | None) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("told by SQLite")
    if name is not None:
        error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("raised", "becomes", "told"),
    [
        (operational(None), IndexCorrupt, "index.sqlite: told by SQLite"),
        (operational("SQLITE_BUSY_RECOVERY"), IndexLocked, "another process is writing to its rows"),
        (operational("SQLITE_LOCKED"), IndexLocked, "try again later"),
        (operational("SQLITE_READONLY_DIRECTORY"), IndexReadOnly, "copy it to a place of your own"),
        (operational("SQLITE_CANTOPEN"), IndexReadOnly, "cannot be written to"),
        (operational("SQLITE_FULL"), MmretError, r"\(SQLITE_FULL\). Check the free space"),
        (sqlite3.DatabaseError("malformed"), IndexCorrupt, "is damaged: malformed"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), IndexCorrupt, "is damaged"),
        (OSError(errno.ENOSPC, "No space left on device"), MmretError, "No space left on device. Check the free space"),
    ],
)
def test_each_fault_is_told_as_what_it_is(raised: Exception, becomes: type[MmretError], told: str) -> None:
    with pytest.raises(becomes, match=told) as error, schema.sqlite_errors(Path("/an/index")):
        raise raised
    assert type(error.value) is becomes
    assert "/an/index" in str(error.value)


def test_an_error_that_names_its_file_stays_as_it_is() -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), schema.sqlite_errors(Path("/an/index")):
        raise FileNotFoundError(errno.ENOENT, "no such file", "/elsewhere")


@pytest.mark.parametrize("value", ["many", None])
def test_a_number_of_commits_that_is_none_is_damage(tmp_path: Path, value: str | None) -> None:
    new_store(tmp_path / "index").close()
    with closing(sqlite3.connect(tmp_path / "index" / "index.sqlite", isolation_level=None)) as connection:
        connection.execute("DELETE FROM meta WHERE key = 'generation'")
        if value is not None:
            connection.execute("INSERT INTO meta VALUES ('generation', ?)", (value,))
        with pytest.raises(IndexCorrupt, match="the table meta is damaged"):
            schema.read_generation(tmp_path / "index", connection)
