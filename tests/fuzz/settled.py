"""Seed files without what their writer takes from the clock or by chance, and Ogg pages whose checksums are right."""

from __future__ import annotations

import re

_SERIAL = b"seed"
_CLOCK_IN_PEAK = slice(12, 16)  # after the name and the size of the chunk and its version
_MAT5_TEXT = 124
_POLYNOMIAL = 0x04C11DB7


def settled(data: bytes) -> bytes:
    """The same sound with a fixed time and a fixed serial number."""
    if data.startswith(b"OggS"):
        return ogg_sealed(data, serial=_SERIAL)
    if data.startswith(b"MATLAB 5.0"):
        return b"MATLAB 5.0 MAT-file".ljust(_MAT5_TEXT) + data[_MAT5_TEXT:]
    place = data.find(b"PEAK")
    if 0 <= place < 200:
        changed = bytearray(data)
        changed[place + _CLOCK_IN_PEAK.start : place + _CLOCK_IN_PEAK.stop] = bytes(4)
        return bytes(changed)
    return data


def ogg_sealed(data: bytes, *, serial: bytes | None = None) -> bytes:
    """Every page with the checksum of what is in it now, so that its decoder gets to see it."""
    pages = [match.start() for match in re.finditer(rb"OggS", data)]
    parts = [data[: pages[0]]] if pages else [data]
    for first, last in zip(pages, [*pages[1:], len(data)][: len(pages)], strict=True):
        page = bytearray(data[first:last])
        if len(page) >= 27:
            page[14:18] = serial or page[14:18]
            page[22:26] = bytes(4)
            page[22:26] = _checksum(page).to_bytes(4, "little")
        parts.append(bytes(page))
    return b"".join(parts)


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (_POLYNOMIAL if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


_TABLE = _table()


def _checksum(page: bytearray) -> int:
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ _TABLE[(value >> 24) ^ byte]
    return value
