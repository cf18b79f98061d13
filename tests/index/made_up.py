"""Made-up vectors and recordings for the tests of the store."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.index import IndexStore
from mmret.index.rows import Encoded, Recording, Reused
from mmret.index.writer import IndexWriter

DIM = 8

Contents = dict[bytes, list[tuple[float, float, bytes]]]


def unit_rows(rows: int, seed: int = 0) -> NDArray[np.float32]:
    """Random unit vectors (rows, DIM)."""
    vectors = np.random.Generator(np.random.PCG64(seed)).standard_normal((rows, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def recording(name: str, sha256: bytes = b"") -> Recording:
    """A made-up file below /sounds."""
    return Recording(b"/sounds", b"/sounds/" + os.fsencode(name), 10, 20, sha256 or os.fsencode(name))


def encoded(writer: IndexWriter, name: str, vectors: NDArray[np.float32]) -> Encoded:
    """Outcome of a file with one window a second."""
    bounds = [(float(second), second + 1.0) for second in range(len(vectors))]
    return Encoded(recording(name), 16000, 16000 * len(vectors), bounds, writer.append(vectors))


def add(store: IndexStore, name: str, vectors: NDArray[np.float32]) -> None:
    """Commit one made-up file."""
    with store.writer() as writer:
        writer.commit([encoded(writer, name, vectors)])


def copy(store: IndexStore, name: str, source: str) -> None:
    """Commit a file with the bytes of another."""
    with store.writer() as writer:
        stored = writer.file_at(recording(source).path)
        assert stored is not None
        writer.commit([Reused(recording(name, stored.sha256 or b""), stored.id)])


def remove(store: IndexStore, names: Iterable[str]) -> None:
    """Take made-up files out."""
    with store.writer() as writer:
        files = [writer.file_at(recording(name).path) for name in names]
        writer.remove([file for file in files if file is not None], "removed")


def new_store(folder: Path, dtype: str = "f32") -> IndexStore:
    """An empty index."""
    return IndexStore.create(folder, dim=DIM, meta={"encoder": "{}"}, dtype=dtype)


def contents(store: IndexStore) -> Contents:
    """Times and vector bits of the windows of every searchable file, checksums proved."""
    with store.snapshot() as snapshot:
        maps = {part.segment.id: part.vectors for part in snapshot.maps}
        return {
            file.path: [
                (window.start_s, window.stop_s, maps[window.segment][window.row].tobytes())
                for window in snapshot.windows_of(file.id)
            ]
            for file in snapshot.files()
            if file.status == "done"
        }
