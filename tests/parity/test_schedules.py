"""Learning rates against the reference numbers of ema_and_schedules*.npz."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mmret.training.schedules import WarmupCosine, learning_rate_for_batch
from tests.conftest import parity_files

FIXTURES = parity_files("m2d", "ema_and_schedules*.npz")

pytestmark = pytest.mark.skipif(not FIXTURES, reason="no ema_and_schedules*.npz; set MMRET_PARITY")


@pytest.fixture(params=FIXTURES, ids=lambda path: path.stem)
def reference(request: pytest.FixtureRequest) -> Any:
    """Arrays of one fixture."""
    with np.load(request.param) as arrays:
        yield arrays


def test_warm_up_and_cosine_on_fractional_epochs(reference: Any) -> None:
    for number, settings in enumerate(json.loads(str(reference["config"]))["lr_configs"]):
        schedule = WarmupCosine(settings["lr"], settings["warmup_epochs"], settings["epochs"], floor=settings["min_lr"])
        rates = [schedule(float(epoch)) for epoch in reference[f"lr_epochs_{number}"]]
        np.testing.assert_allclose(rates, reference[f"lr_{number}"], rtol=1e-9)


def test_learning_rate_from_the_effective_batch(reference: Any) -> None:
    columns = json.loads(str(reference["config"]))["blr_case_columns"]
    for row, expected in zip(reference["blr_cases"], reference["abs_lr"], strict=True):
        case = dict(zip(columns, row, strict=True))
        effective = case["batch_per_device"] * case["accum_iter"] * case["devices"]
        assert learning_rate_for_batch(case["blr"], effective) == pytest.approx(expected, rel=1e-9)
