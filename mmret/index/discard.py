"""Deleting an index that never came to hold anything."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from mmret.index.lock import LOCK, WriterLock
from mmret.index.schema import DATABASE
from mmret.index.seal import SEAL
from mmret.index.segments_file import VECTORS, unnamed_files
from mmret.index.store import IndexStore


def discard_if_empty(folder: Path) -> bool:
    """Delete the files of an index without windows, and say whether it was one; the folder itself stays."""
    with WriterLock(folder):
        with closing(IndexStore.open(folder)) as store, store.rows() as snapshot:
            if snapshot.window_count():
                return False
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", SEAL):
            (folder / name).unlink(missing_ok=True)
        for vectors in unnamed_files(folder, frozenset()):
            vectors.unlink()
        (folder / VECTORS).rmdir()
        (folder / LOCK).unlink()
    return True
