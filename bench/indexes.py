"""Indexes of any size with the shipped model, their vectors made up."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.encoder import Encoder
from mmret.index import IndexStore
from mmret.index.rows import Encoded, Recording
from mmret.index.writer import IndexWriter
from mmret.tasks.search import Index

MODEL = "mmret-mini"
WINDOWS_A_FILE = 100  # some four minutes of sound
WINDOWS_A_COMMIT = 1_000


def write_index(folder: Path, windows: int, dtype: str = "f32") -> float:
    """Make an index of random unit vectors; the CPU seconds that storing them took."""
    encoder = Encoder.from_pretrained(MODEL)
    Index.open(folder, encoder, store=dtype).close()
    generator, cpu_s = np.random.Generator(np.random.PCG64(0)), 0.0
    with closing(IndexStore.open(folder)) as store, store.writer() as writer:
        for first in range(0, windows, WINDOWS_A_COMMIT):
            vectors = unit_vectors(min(WINDOWS_A_COMMIT, windows - first), encoder.dim, generator)
            started_s = time.process_time()
            parts = np.split(vectors, range(WINDOWS_A_FILE, len(vectors), WINDOWS_A_FILE))
            writer.commit([_recording(first, number, part, writer) for number, part in enumerate(parts)])
            cpu_s += time.process_time() - started_s
    return cpu_s


def unit_vectors(rows: int, dim: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Random directions (rows, dim)."""
    vectors = generator.standard_normal((rows, dim), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def bytes_of(folder: Path) -> dict[str, int]:
    """Bytes of an index on the disk: its vectors and its rows."""
    vectors = sum(path.stat().st_size for path in (folder / "vectors").iterdir())
    return {"vectors": vectors, "rows": (folder / "index.sqlite").stat().st_size}


def _recording(first: int, number: int, vectors: NDArray[np.float32], writer: IndexWriter) -> Encoded:
    path = os.fsencode(f"/recordings/{first // WINDOWS_A_COMMIT:06}/{number:06}.wav")
    bounds_s = [(2.56 * row, 2.56 * row + 5.12) for row in range(len(vectors))]
    frames = 16_000 * 256 * len(vectors) // 100
    return Encoded(Recording(b"/recordings", path, 1, 1, path), 16_000, frames, bounds_s, writer.append(vectors))
