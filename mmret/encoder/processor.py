"""What the processor of this machine can do."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

CPU_FACTS = Path("/proc/cpuinfo")
_VNNI = {"avx512_vnni", "avx_vnni"}


@cache
def adds_int8_exactly() -> bool:
    """Whether sums of int8 products are exact here: on an x86 without VNNI they saturate at 16 bits."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    lines = CPU_FACTS.read_text(encoding="utf-8").splitlines() if CPU_FACTS.is_file() else []
    return any(line.startswith("flags") and not _VNNI.isdisjoint(line.split()) for line in lines)
