"""Salvage: what of a damaged index is proved to be whole, copied into a new one, and what is lost, by recording."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.errors import IndexCorrupt, IndexFormatError, IndexReadOnly
from mmret.index import schema
from mmret.index.lock import WriterLock
from mmret.index.rows import Encoded, Failed, Outcome, Recording, Reused
from mmret.index.salvage_rows import ProvedFile, damaged_rows, file_ids, prove_file, proved_meta
from mmret.index.salvage_vectors import ProvedVectors
from mmret.index.segments_file import LAST_RESORT, Layout, holds_vectors, sync_folder
from mmret.index.store import IndexStore, may_become_index
from mmret.index.writer import IndexWriter

WINDOWS_PER_COMMIT = 4096
FILES_PER_COMMIT = 1024
UNKNOWN_TIME = -1  # no file has it, so that the next run of `mmret index` reads this one again


@dataclass(frozen=True)
class LostFile:
    """A recording that is not whole any more: its path, or number where that is lost, and what became of it."""

    path: str
    reason: str
    windows_kept: int


@dataclass
class SalvageReport:
    """What went into the new index, and every recording of which something is missing there."""

    files: int = 0
    failed: int = 0
    windows: int = 0
    lost: list[LostFile] = field(default_factory=list)


def salvage(source: Path, out: Path) -> SalvageReport:
    """Copy every recording of `source` whose rows and vectors are proved into a new index at `out`.

    A recording that lost some of its vectors keeps the others, and `mmret index` makes it whole again. The new index
    appears at `out` when it is complete; until then it is the hidden folder .OUT.salvage beside it.
    """
    schema.require(source)
    if out.exists() and any(out.iterdir()):
        raise IndexFormatError(f"{out} exists and is not empty; salvage makes a new index")
    with ExitStack() as stack:
        with contextlib.suppress(IndexReadOnly, OSError):  # where nothing can be written there is no writer
            stack.enter_context(WriterLock(source))
        stack.enter_context(schema.sqlite_errors(source, f"Nothing can be saved from it. {LAST_RESORT}"))
        rows = stack.enter_context(damaged_rows(source, out))
        rows.execute("BEGIN")
        try:
            schema.check_tables(source, rows)
        except IndexCorrupt:
            if schema.read_version(rows) in schema.TABLES:
                schema.check_version(source, rows)  # an older format has no proofs
            raise
        return _copy(source, rows, out)


def _copy(source: Path, rows: sqlite3.Connection, out: Path) -> SalvageReport:
    meta = proved_meta(source, rows)
    layout = Layout(int(meta["dim"]), meta["dtype"])
    unfinished = _fresh_folder(out.with_name(f".{out.name}.salvage"))
    own = {"encoder", "model"}
    kept = {key: value for key, value in meta.items() if key in own}
    files = file_ids(rows)
    if not files and holds_vectors(source):
        raise IndexCorrupt(f"{source}: not one recording can be read any more. {LAST_RESORT}")
    vectors = ProvedVectors(source, rows, layout)
    store = IndexStore.create(unfinished, dim=layout.dim, meta=kept, dtype=layout.dtype)
    with closing(store), store.writer() as writer:
        report = _Copier(writer, rows, vectors).run(files)
    schema.require_unchanged(source, rows)
    unfinished.replace(out)
    sync_folder(out.parent)
    return report


def _fresh_folder(folder: Path) -> Path:
    """A new folder, in the place of what a salvage that was stopped left there."""
    if folder.exists():
        if not IndexStore.exists(folder) and not may_become_index(folder):
            raise IndexFormatError(f"{folder} is in the way: it holds other files")
        shutil.rmtree(folder)
    return folder


class _Copier:
    """Puts proved recordings into a new index, in the order of their windows, so that ties stay as they were."""

    def __init__(self, writer: IndexWriter, rows: sqlite3.Connection, vectors: ProvedVectors) -> None:
        self.report = SalvageReport()
        self._writer = writer
        self._rows = rows
        self._vectors = vectors
        self._outcomes: list[Outcome] = []
        self._waiting = 0
        self._copied: dict[bytes, bytes] = {}  # digest of places -> path of the recording that has them

    def run(self, files: Sequence[int]) -> SalvageReport:
        """Copy all files, by their ids, and tell what is missing."""
        order = []
        for file in files:
            found = prove_file(self._rows, file)
            if isinstance(found, str):
                self.report.lost.append(LostFile(found, "what the index says about it is damaged", 0))
            elif found.status != "gone":
                order.append((found.windows[0].id if found.windows else 0, file))
        for _, file in sorted(order):
            proved = prove_file(self._rows, file)
            assert isinstance(proved, ProvedFile), "proved a moment ago, in the same transaction"
            self._take(proved)
        self._commit()
        return self.report

    def _take(self, file: ProvedFile) -> None:
        if file.status == "failed":
            self.report.failed += 1
            self._outcomes.append(Failed(file.recording, file.reason or ""))
        else:
            self._take_windows(file)
        if self._waiting >= WINDOWS_PER_COMMIT or len(self._outcomes) >= FILES_PER_COMMIT:
            self._commit()

    def _take_windows(self, file: ProvedFile) -> None:
        places = np.array([(window.segment, window.row) for window in file.windows], np.int64).reshape(-1, 2)
        whole = self._vectors.proved(places)
        lost = int(np.count_nonzero(~whole))
        if lost:
            reason = f"{lost} of {len(places)} windows have damaged or missing vectors"
            self.report.lost.append(LostFile(_shown(file.recording.path), reason, len(places) - lost))
            if lost == len(places):
                return
        else:
            self.report.files += 1
            if self._share(file, places):
                return
        recording = _incomplete(file.recording) if lost else file.recording
        bounds = [(one.start_s, one.stop_s) for one, kept in zip(file.windows, whole, strict=True) if kept]
        blocks = []
        for vectors in self._vectors.read(places[whole], WINDOWS_PER_COMMIT):
            blocks += self._writer.append_stored(vectors)
        self._outcomes.append(Encoded(recording, file.sample_rate or 0, file.frames or 0, bounds, blocks))
        self._waiting += len(bounds)
        self.report.windows += len(bounds)

    def _share(self, file: ProvedFile, places: NDArray[np.int64]) -> bool:
        """Let a copy of a recording that was taken already name the same vectors."""
        key = hashlib.blake2b(places.tobytes(), digest_size=16).digest()
        first = self._copied.setdefault(key, file.recording.path)
        if first == file.recording.path:
            return False
        self._commit()
        stored = self._writer.file_at(first)
        assert stored is not None, first
        self._outcomes.append(Reused(file.recording, stored.id))
        self.report.windows += len(places)
        return True

    def _commit(self) -> None:
        if self._outcomes:
            self._writer.commit(self._outcomes)
        self._outcomes, self._waiting = [], 0


def _incomplete(recording: Recording) -> Recording:
    """The recording as one whose content is not known."""
    return Recording(recording.root, recording.path, recording.size, UNKNOWN_TIME, None)


def _shown(path: bytes) -> str:
    return os.fsdecode(path)
