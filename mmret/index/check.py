"""Whether everything that was committed is still there, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmret.errors import IndexCorrupt
from mmret.index.segments_file import Block, Segment, SegmentMap, unnamed_files
from mmret.index.snapshot import Snapshot
from mmret.index.store import IndexStore


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
        yield str(error)
        return
    for block in blocks:
        try:
            vectors.verify([block])
        except IndexCorrupt as error:
            yield str(error)
            continue
        rows = vectors.vectors[block.first_row : block.first_row + block.rows].astype(np.float32, copy=False)
        if not np.all(np.abs(np.linalg.norm(rows, axis=1) - 1) <= segment.layout.norm_tolerance):  # false for NaN, too
            yield f"{vectors.path}: vectors from row {block.first_row} on are not of unit length"


def _tile(blocks: list[Block], rows: int) -> bool:
    """Whether blocks cover rows 0 to `rows` without gap or overlap."""
    reached = 0
    for block in blocks:
        if block.first_row != reached or block.rows < 1:
            return False
        reached += block.rows
    return reached == rows
