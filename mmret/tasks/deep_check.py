"""Whether vectors still are those of their recordings: a sample of windows is decoded and encoded once more."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.audio.decode import decode_blocks
from mmret.audio.segments import iter_segments
from mmret.errors import AudioError
from mmret.index.rows import StoredFile
from mmret.index.snapshot import Snapshot
from mmret.index.store import IndexStore
from mmret.tasks.indexing import Decoder
from mmret.tasks.search_encoder import SearchEncoder

SHARE = 0.01
AT_LEAST = 20
SAME = 0.9999  # cosine: other processors and runtimes differ from the fifth digit on

Bounds = tuple[float, float]


@dataclass
class DeepReport:
    """What became of a sample: `sampled` of the `windows` of an index, which lie in so many `recordings`.

    `compared` were encoded again, `problems` tell of those that differ. Recordings of the sample that are `missing`, or
    whose bytes have `changed` since they were indexed, tell nothing about the index.
    """

    windows: int = 0
    sampled: int = 0
    recordings: int = 0
    compared: int = 0
    problems: list[str] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)
    changed: list[Path] = field(default_factory=list)

    @property
    def tells_nothing(self) -> bool:
        """Whether there were windows to compare, and not one of them could be."""
        return self.sampled > 0 and not self.compared


def deep_check(store: IndexStore, encoder: SearchEncoder, *, decode: Decoder = decode_blocks) -> DeepReport:
    """Encode one window in a hundred again, always the same ones, and compare; IndexCorrupt if vectors are damaged."""
    with store.snapshot() as snapshot:
        sampled = list(_sampled(snapshot))
        windows = snapshot.window_count()
    report = DeepReport(windows, sum(len(stored) for _, stored in sampled), len(sampled))
    for file, stored in sampled:
        path = Path(os.fsdecode(file.path))
        try:
            if not _holds_the_same(path, file):
                report.changed.append(path)
                continue
            report.problems += _differences(path, stored, encoder, decode)
            report.compared += len(stored)
        except AudioError as error:
            report.problems.append(f"{path}: it was indexed, and now: {error.reason}")
        except OSError:
            report.missing.append(path)
    return report


def _sampled(snapshot: Snapshot) -> Iterator[tuple[StoredFile, dict[Bounds, NDArray[np.float32]]]]:
    """Files with their sampled windows and the vectors (dim,) of those."""
    total = snapshot.window_count()
    count = min(total, max(AT_LEAST, math.ceil(SHARE * total)))
    chosen = np.zeros(total, bool)
    chosen[np.random.Generator(np.random.PCG64(total)).choice(total, count, replace=False)] = True
    maps = {vectors.segment.id: vectors.vectors for vectors in snapshot.maps}
    passed = 0
    for file in snapshot.files():
        windows = snapshot.windows_of(file.id)
        here = [windows[row] for row in np.flatnonzero(chosen[passed : passed + len(windows)])]
        passed += len(windows)
        if here:
            yield file, {(one.start_s, one.stop_s): maps[one.segment][one.row].astype(np.float32) for one in here}


def _holds_the_same(path: Path, file: StoredFile) -> bool:
    """Whether a file has the bytes that were indexed; they are read only where its size or time do not tell."""
    status = path.stat()
    if status.st_size != file.size:
        return False
    if status.st_mtime_ns == file.mtime_ns:
        return True
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest() == file.sha256


def _differences(
    path: Path, stored: dict[Bounds, NDArray[np.float32]], encoder: SearchEncoder, decode: Decoder
) -> Iterator[str]:
    """Sentences about the windows of a recording whose vectors are not the stored ones."""
    left = dict(stored)
    for segment in iter_segments(decode(path, encoder.sample_rate), encoder.sample_rate, encoder.windows):
        vector = left.pop((segment.start_s, segment.stop_s), None)
        if vector is None:
            continue
        again = encoder.encode_waveforms([segment.waveform])[0]
        cosine = float(vector @ again / (np.linalg.norm(vector) * np.linalg.norm(again)))
        if not cosine >= SAME:  # true for NaN, too
            yield f"{_place(path, segment.start_s, segment.stop_s)} has another vector now (cosine {cosine:.4f})"
        if not left:
            return
    for start_s, stop_s in left:
        yield f"{_place(path, start_s, stop_s)} is no window of it now"


def _place(path: Path, start_s: float, stop_s: float) -> str:
    return f"{path}: {start_s:.2f}-{stop_s:.2f} s"
