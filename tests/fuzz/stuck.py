"""A target that crashes, hangs, eats memory and fails on purpose, to show that each is noticed."""

from __future__ import annotations

import ctypes
from pathlib import Path

from tests.fuzz.mutations import Generator


class StuckTarget:
    """Case 1 crashes, 2 hangs, 3 takes memory, 4 raises, 5 and 6 write files; the others are well."""

    memory_bytes = 300 * 2**20
    cpu_s = 1

    def __init__(self, place: Path) -> None:
        self._place = place
        self._number = 0

    def prepare(self, number: int, generator: Generator) -> str:
        """Remember the number."""
        self._number = number
        return f"number {number}"

    def run(self) -> str:
        """Do the harm of this number."""
        if self._number == 1:
            ctypes.string_at(0)
        while self._number == 2:
            pass
        if self._number == 3:
            bytearray(2**30)
        if self._number == 4:
            raise KeyError("escaped")
        if self._number == 5:
            (self._place / "grown").write_bytes(b"grown")
        if self._number == 6:
            (self._place / "made").touch()
        return "read"
