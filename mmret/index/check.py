"""Whether everything that was committed is still there, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmret.errors import IndexCorrupt
from mmret.index.segments_file import VECTORS, Block, Segment, SegmentMap, how_to_save, unnamed_files
from mmret.index.snapshot import Snapshot
from mmret.index.store import IndexStore

MAX_NAMED = 5  # recordings in one line about damaged vectors


@dataclass(frozen=True)
class CheckReport:
    """What was looked at, and what is wrong with it; `unused` files are left-overs that do no harm."""

    windows: int
    vector_bytes: int
    problems: list[str]
    unused: list[str]


def check(store: IndexStore) -> CheckReport:
    """Read every row and every vector of an index and list what does not hold."""
    problems: list[str] = []
    try:
        store.prove()
    except IndexCorrupt as error:
        problems.append(str(error))
    try:
        with store.rows() as snapshot:
            problems += snapshot.problems_of_rows()
            segments = snapshot.segments()
            for segment in segments:
                problems += _segment_problems(store.folder, snapshot, segment)
            named = {segment.name for segment in segments}
            unused = [path.name for path in unnamed_files(store.folder, named)]
            size = sum(segment.bytes for segment in segments)
            return CheckReport(snapshot.window_count(), size, problems, unused)
    except IndexCorrupt as error:  # so badly that the rows cannot be gone through
        return CheckReport(0, 0, [*problems, str(error)], [])


def _segment_problems(folder: Path, snapshot: Snapshot, segment: Segment) -> Iterator[str]:
    blocks = snapshot.blocks(segment.id)
    if not _tile(blocks, segment.rows):
        yield f"rows: the blocks of {segment.name} do not cover its {segment.rows} vectors"
        return
    try:
        vectors = SegmentMap(folder, segment)
    except IndexCorrupt as error:
        yield _with_recordings(error, snapshot, segment, range(_whole_rows(folder, segment), segment.rows))
        return
    for block in blocks:
        lost = range(block.first_row, block.first_row + block.rows)
        try:
            vectors.verify([block])
        except IndexCorrupt as error:
            yield _with_recordings(error, snapshot, segment, lost)
            continue
        rows = vectors.vectors[block.first_row : block.first_row + block.rows].astype(np.float32, copy=False)
        if not np.all(np.abs(np.linalg.norm(rows, axis=1) - 1) <= segment.layout.norm_tolerance):  # false for NaN, too
            yield f"{vectors.path}: vectors from row {block.first_row} on are not of unit length"


def _whole_rows(folder: Path, segment: Segment) -> int:
    """Rows of a vector file that was cut, 0 where it is gone."""
    path = folder / VECTORS / segment.name
    return path.stat().st_size // segment.layout.row_bytes if path.exists() else 0


def _with_recordings(error: IndexCorrupt, snapshot: Snapshot, segment: Segment, rows: range) -> str:
    """What is wrong, whose vectors `rows` of a vector file are, the first few by name, and what to do."""
    files = snapshot.files_using(segment.id, rows)
    names = ", ".join(_name(snapshot, file) for file in files[:MAX_NAMED])
    more = f" and {len(files) - MAX_NAMED} more" if len(files) > MAX_NAMED else ""
    belong = f"They belong to {names}{more}" if files else "They belong to no recording any more"
    advice = how_to_save(snapshot.folder)
    return f"{str(error).removesuffix(advice)}{belong}. {advice}"


def _name(snapshot: Snapshot, file: int) -> str:
    try:
        return os.fsdecode(snapshot.paths_of([file])[file])
    except IndexCorrupt:
        return f"file {file}"


def _tile(blocks: list[Block], rows: int) -> bool:
    """Whether blocks cover rows 0 to `rows` without gap or overlap."""
    reached = 0
    for block in blocks:
        if block.first_row != reached or block.rows < 1:
            return False
        reached += block.rows
    return reached == rows
