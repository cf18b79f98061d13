"""The tower of the benchmark in small: equal vectors in every variant, and a verdict on int8."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_every_variant_gives_the_same_vector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "bench")
    import encoders

    operations = {one.name: one for one in encoders.every(tmp_path, 1, 8)}
    assert [name.rpartition(", ")[2] for name in operations] == 2 * ["fp32", "fp32", "int8", "int8"]
    for name in ("mmret-mini", "ViT of 1 layers"):
        window, file, fast_window, fast_file = (one for title, one in operations.items() if name in title)
        assert {"mmret, onnx", "mmret, torch", "PyTorch"} <= set(window.variants)
        assert 0 < window.difference < 1e-4
        assert 0 < file.difference < 1e-3
        assert next(iter(fast_window.variants)) == "mmret, int8" == next(iter(fast_file.variants))
        assert fast_window.facts["mean_cosine"] >= 0.999 > fast_window.facts["mean_cosine_between_clips"]
