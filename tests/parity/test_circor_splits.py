"""The published splits of CirCor against m2d/circor_splits.json."""

from __future__ import annotations

import json

import pytest

from mmret.data.circor import PARTS, SPLITS, split_ids
from tests.conftest import parity_dir


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("split", SPLITS)
def test_patients_equal_reference(split, part):
    expected = json.loads((parity_dir("m2d") / "circor_splits.json").read_text())
    assert list(split_ids(split, part)) == [str(patient) for patient in expected[f"split{split}"][part]]
