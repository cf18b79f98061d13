"""Whether stored vectors may be given to another recording: only those that are still what was written."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from mmret.errors import IndexCorrupt
from mmret.index.segments_file import Block, SegmentMap
from mmret.index.snapshot import read_segments

log = logging.getLogger(__name__)

_BLOCKS_OF_FILE = (
    "SELECT DISTINCT block.segment, block.first_row, block.rows, block.crc32 FROM window JOIN block "
    "ON block.segment = window.segment AND block.first_row = "
    "(SELECT MAX(first_row) FROM block AS near WHERE near.segment = window.segment AND near.first_row <= window.row) "
    "WHERE window.file = ? AND window.deleted_gen IS NULL"
)


class ReusableVectors:
    """Proves the vectors of single recordings by the checksums of their blocks, each of which is read once."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self._folder = folder
        self._connection = connection
        self._faults: dict[Block, str | None] = {}

    def hold(self, file: int) -> bool:
        """Whether all vectors of a file are those that were written; damage is logged, for each block once."""
        blocks = [Block(*row) for row in self._connection.execute(_BLOCKS_OF_FILE, (file,))]
        for block in blocks:
            if block not in self._faults:
                self._faults[block] = fault = self._fault(block)
                if fault is not None:
                    log.warning(
                        "copies of a recording are encoded anew, as %s; to see all that is damaged: mmret check %s",
                        fault,
                        self._folder,
                    )
        return bool(blocks) and all(self._faults[block] is None for block in blocks)

    def _fault(self, block: Block) -> str | None:
        """What is wrong with the vectors of a block, None where its checksum holds."""
        segment = next(one for one in read_segments(self._connection) if one.id == block.segment)
        try:
            SegmentMap(self._folder, segment).verify([block])
        except IndexCorrupt as error:
            return str(error)
        return None
