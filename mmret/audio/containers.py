"""What a file says about its own length, read from its container.

libsndfile trims a container's promise to what is there, and estimates the length of an MP3 that does not tell it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Literal

MP3_HEADER_BYTES = 64  # of the first frame: that far reach the counts
MP3_COUNTS = (b"Xing", b"Info")
_MP3_TAGS = 1.1  # what follows the counted frames may be tags, up to a tenth of them
_MAX_CHUNKS = 1000  # real files have a dozen; a hostile one may hold millions of empty ones
_UNKNOWN_SIZE = 0x7FFF0000  # programs that write into a pipe leave a size from here on
_OGG_PAGE_BYTES = 27 + 255 + 255 * 255
_W64_MAGIC = b"riff\x2e\x91\xcf\x11"


def promised_bytes(path: Path) -> int | None:
    """Bytes that the file at `path` should have by its own header; None where the header does not tell."""
    with path.open("rb") as file:
        head = file.read(24)
        magic = head[:4]
        if magic in (b"RIFF", b"RIFX"):
            return _chunk_end(file, b"data", "little" if magic == b"RIFF" else "big")
        if magic == b"FORM":
            return _chunk_end(file, b"SSND", "big")
        if magic == b"RF64":
            return _rf64_end(file)
        if magic == b".snd":
            size = int.from_bytes(head[8:12], "big")
            return int.from_bytes(head[4:8], "big") + size if size < _UNKNOWN_SIZE else None
        if head.startswith(_W64_MAGIC):
            return int.from_bytes(head[16:24], "little")
        return _ogg_end(file) if magic == b"OggS" else None


def uncounted_mp3_start(path: Path) -> int | None:
    """Offset of the first frame of an MP3 whose Xing or Info header does not count its frames; None for other files.

    Old files have no such header; in joined ones, as podcasts with advertisements are, it counts the first part.
    """
    with path.open("rb") as file:
        start = 0
        if (tag := file.read(10)).startswith(b"ID3") and len(tag) == 10:
            start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
        file.seek(start)
        frame = file.read(MP3_HEADER_BYTES)
        size = file.seek(0, os.SEEK_END) - start
    if len(frame) < 2 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:  # layer III of MPEG 1, 2 or 2.5
        return None
    counts = max(frame.find(name) for name in MP3_COUNTS)
    if counts < 0:
        return start
    flags, counted = frame[counts + 4 : counts + 8], int.from_bytes(frame[counts + 12 : counts + 16], "big")
    if int.from_bytes(flags, "big") & 3 != 3:  # it does not count both frames and bytes, which follow in this order
        return None
    return start if 0 < _MP3_TAGS * counted < size else None


def _chunk(file: BinaryIO, name: bytes, order: Literal["little", "big"]) -> tuple[int, int] | None:
    """Offset and declared size of a chunk's body."""
    file.seek(12)
    for _ in range(_MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            break
        size = int.from_bytes(header[4:], order)
        if header[:4] == name:
            return file.tell(), size
        file.seek(size + size % 2, os.SEEK_CUR)
    return None


def _chunk_end(file: BinaryIO, name: bytes, order: Literal["little", "big"]) -> int | None:
    found = _chunk(file, name, order)
    return sum(found) if found is not None and found[1] < _UNKNOWN_SIZE else None


def _rf64_end(file: BinaryIO) -> int | None:
    """RF64 keeps the length of its samples, 64 bits, in a chunk before them."""
    sizes, samples = _chunk(file, b"ds64", "little"), _chunk(file, b"data", "little")
    if sizes is None or samples is None:
        return None
    file.seek(sizes[0] + 8)
    return samples[0] + int.from_bytes(file.read(8), "little")


def _ogg_end(file: BinaryIO) -> int | None:
    """End of the last page that has begun. (A stream cut between two pages cannot be told from a live one.)"""
    start = max(0, file.seek(0, os.SEEK_END) - _OGG_PAGE_BYTES)
    file.seek(start)
    tail = file.read()
    page = tail.rfind(b"OggS\x00")
    if page < 0:
        return None
    segments = tail[page + 26] if page + 26 < len(tail) else 0
    table = tail[page + 27 : page + 27 + segments]
    return start + page + 27 + segments + sum(table)
