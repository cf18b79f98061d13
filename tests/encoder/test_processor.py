"""Which processors may run int8 graphs."""

from __future__ import annotations

import pytest

from mmret.encoder import processor


@pytest.mark.parametrize(
    ("machine", "facts", "exact"),
    [
        ("x86_64", "model name\t: A\nflags\t\t: fpu avx2 avx512_vnni sse\n", True),
        ("x86_64", "flags\t\t: fpu avx_vnni\n", True),
        ("x86_64", "flags\t\t: fpu avx2 avx512f\nmodel name\t: avx_vnni\n", False),
        ("x86_64", None, False),
        ("aarch64", "Features\t: fp asimd\n", True),
    ],
)
def test_an_x86_needs_vnni(machine, facts, exact, tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    if facts is not None:
        path.write_text(facts)
    monkeypatch.setattr(processor, "CPU_FACTS", path)
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    processor.adds_int8_exactly.cache_clear()
    try:
        assert processor.adds_int8_exactly() is exact
    finally:
        processor.adds_int8_exactly.cache_clear()
