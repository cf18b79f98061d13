"""Contrastive loss against the reference numbers of infonce*.npz, at the tolerances of their README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmret.losses import (
    clamp_log_scale_,
    infonce,
    infonce_across_processes,
    infonce_one_way,
    pair_logits,
    top1_accuracy,
)
from tests.conftest import parity_files
from tests.losses.gloo_processes import run_in_processes

FIXTURES = parity_files("metrics", "infonce*.npz")
PRECISIONS = [(torch.float64, 1e-8, 1e-8), (torch.float32, 2e-4, 2e-3)]

pytestmark = pytest.mark.skipif(not FIXTURES, reason="no infonce*.npz; set MMRET_PARITY")


@pytest.fixture(params=FIXTURES, ids=lambda path: path.stem)
def reference(request: pytest.FixtureRequest) -> Any:
    """Arrays of one fixture."""
    with np.load(request.param) as arrays:
        yield arrays


def inputs(reference: Any, case: str, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Raw rows x, y and the scale of a case, as leaves."""
    return [torch.tensor(reference[f"{case}_{name}"], dtype=dtype).requires_grad_() for name in ("x", "y", "log_scale")]


def cases(reference: Any) -> list[str]:
    """Names of the numbered cases."""
    return [f"c{number}" for number in range(int(reference["n_cases"]))]


def assert_gradients(leaves: list[Tensor], reference: Any, case: str, tolerance: float) -> None:
    """Gradients agree relative to their norm."""
    for leaf, name in zip(leaves, ("x", "y", "log_scale"), strict=True):
        expected = reference[f"{case}_grad_{name}"]
        assert leaf.grad is not None
        difference = np.linalg.norm(leaf.grad.double().numpy() - expected)
        assert difference <= tolerance * max(float(np.linalg.norm(expected)), 1e-12), name


@pytest.mark.parametrize(("dtype", "loss_tolerance", "gradient_tolerance"), PRECISIONS)
def test_symmetric_loss_and_gradients(
    reference: Any, dtype: torch.dtype, loss_tolerance: float, gradient_tolerance: float
) -> None:
    for case in cases(reference):
        leaves = inputs(reference, case, dtype)
        loss = infonce(*leaves)
        loss.backward()
        assert loss.item() == pytest.approx(float(reference[f"{case}_loss"]), rel=loss_tolerance)
        assert_gradients(leaves, reference, case, gradient_tolerance)


def test_directions_logits_and_accuracies(reference: Any) -> None:
    for case in cases(reference):
        x, y, scale = inputs(reference, case)
        assert infonce_one_way(x, y, scale).item() == pytest.approx(float(reference[f"{case}_loss_x2y"]), rel=1e-8)
        assert infonce_one_way(y, x, scale).item() == pytest.approx(float(reference[f"{case}_loss_y2x"]), rel=1e-8)
        assert top1_accuracy(x, y).item() == pytest.approx(float(reference[f"{case}_acc_x2y"]))
        assert top1_accuracy(y, x).item() == pytest.approx(float(reference[f"{case}_acc_y2x"]))
        if f"{case}_logits" in reference:
            expected = reference[f"{case}_logits"]
            np.testing.assert_allclose(pair_logits(x, y, scale).detach().numpy(), expected, rtol=1e-8, atol=1e-10)


def test_collapsed_rows(reference: Any) -> None:
    loss = infonce(*inputs(reference, "collapsed"))
    assert loss.item() == pytest.approx(float(reference["collapsed_loss"]), rel=1e-8)


def test_clamp_of_the_scale(reference: Any) -> None:
    clamped = clamp_log_scale_(torch.tensor(reference["clamp_in"]))
    np.testing.assert_allclose(clamped.numpy(), reference["clamp_out"], rtol=1e-8)


def share_of_rank(rank: int, world: int, batch: list[Tensor]) -> dict[str, Tensor]:
    """Local loss and gradients with respect to the own rows, as all processes together give them."""
    x, y = (part.chunk(world)[rank].clone().requires_grad_() for part in batch[:2])
    scale = batch[2].clone().requires_grad_()
    loss = infonce_across_processes(x, y, scale)
    loss.backward()
    assert x.grad is not None and y.grad is not None and scale.grad is not None
    return {"loss": loss.detach(), "x": x.grad, "y": y.grad, "log_scale": scale.grad}


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_shares_of_the_batch_across_processes(path: Path, tmp_path: Path) -> None:
    with np.load(path) as reference:
        world = int(reference["ranks_world"])
        batch = [leaf.detach() for leaf in inputs(reference, "ranks")]
        ranks = run_in_processes(share_of_rank, world, batch, tmp_path)
        losses = [float(rank["loss"]) for rank in ranks]
        assert losses == pytest.approx(reference["ranks_local_losses"].tolist(), rel=1e-8)
        assert np.mean(losses) == pytest.approx(float(reference["ranks_loss"]), rel=1e-8)
        for leaf, name in zip(batch, ("x", "y", "log_scale"), strict=True):
            shares = [rank[name] for rank in ranks]
            leaf.grad = (torch.stack(shares).sum(dim=0) if leaf.ndim == 0 else torch.cat(shares)) / world
        assert_gradients(batch, reference, "ranks", 1e-8)
