"""Result files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmret.metrics import Interval
from mmret.metrics.result_file import installed_versions, write_result


def test_numbers_of_every_kind_become_json(tmp_path: Path) -> None:
    metrics = {"a": np.float32(0.5), "b": 1 / 3, 4: np.int64(2), "c": Interval(0.1, 0.2), "d": np.arange(2)}
    path = write_result(tmp_path / "r.json", {"protocol": {}, "model": {}, "metrics": metrics})
    assert json.loads(path.read_text())["metrics"] == {"a": 0.5, "b": 0.333333, "4": 2, "c": [0.1, 0.2], "d": [0, 1]}


def test_figures_without_a_protocol_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs model, protocol"):
        write_result(tmp_path / "r.json", {"metrics": {}})


def test_packages_that_are_not_there_have_no_version() -> None:
    assert installed_versions(["no-such-package"]).keys() == {"python"}
