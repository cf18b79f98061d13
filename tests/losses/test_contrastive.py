"""Contrastive loss: limits, precision, and the same numbers from two processes as from one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmret.losses import (
    INITIAL_LOG_SCALE,
    clamp_log_scale_,
    gather_with_gradient,
    infonce,
    infonce_across_processes,
    top1_accuracy,
)
from tests.losses.gloo_processes import run_in_processes


class TwoTowers(nn.Module):
    """Two linear towers and a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.audio, self.text = nn.Linear(12, 8), nn.Linear(10, 8)
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        return infonce_across_processes(self.audio(audio), self.text(text), self.log_scale)


def towers_and_batch() -> tuple[TwoTowers, Tensor, Tensor]:
    """The same model and batch in every process."""
    torch.manual_seed(0)
    return TwoTowers(), torch.randn(12, 12), torch.randn(12, 10)


def gradient_of_share(rank: int, world: int, _: Any) -> dict[str, Tensor]:
    """Loss and gradients of a rank's share of the batch."""
    model, audio, text = towers_and_batch()
    loss = model(audio.chunk(world)[rank], text.chunk(world)[rank])
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad for name, p in model.named_parameters() if p.grad is not None}}


def gather_ranks(rank: int, world: int, _: Any) -> dict[str, Tensor]:
    """Gathered rows and the gradient of their squares' sum, weighted by rank."""
    own = torch.full((2, 3), float(rank), requires_grad=True)
    gathered = gather_with_gradient(own)
    (gathered.square().sum() * (rank + 1)).backward()
    assert own.grad is not None
    return {"gathered": gathered.detach(), "gradient": own.grad}


@pytest.mark.parametrize("world", [2, 3])
def test_mean_over_processes_is_the_loss_and_gradient_of_one(tmp_path: Path, world: int) -> None:
    model, audio, text = towers_and_batch()
    loss = model(audio, text)
    loss.backward()
    ranks = run_in_processes(gradient_of_share, world, None, tmp_path)
    assert torch.stack([rank["loss"] for rank in ranks]).mean().item() == pytest.approx(loss.item(), rel=1e-6)
    for name, parameter in model.named_parameters():
        mean = torch.stack([rank[name] for rank in ranks]).mean(dim=0)  # what DistributedDataParallel gives each rank
        torch.testing.assert_close(mean, parameter.grad, rtol=1e-5, atol=1e-6)


def test_gathered_rows_are_in_rank_order_and_owners_get_every_gradient(tmp_path: Path) -> None:
    ranks = run_in_processes(gather_ranks, 2, None, tmp_path)
    assert ranks[0]["gathered"][:, 0].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert ranks[1]["gradient"].unique().tolist() == [2.0 * 1.0 * (1 + 2)]


def test_alone_the_gather_is_the_identity() -> None:
    x = torch.randn(3, 2)
    assert gather_with_gradient(x) is x


def test_loss_of_equal_rows_is_the_logarithm_of_their_number() -> None:
    x = torch.ones(7, 4)
    assert infonce(x, x, torch.tensor(3.0)).item() == pytest.approx(math.log(7), abs=1e-6)


def test_zero_row_gives_finite_gradients() -> None:
    x = torch.randn(4, 3)
    x[1] = 0.0
    x.requires_grad_()
    infonce(x, torch.randn(4, 3), torch.tensor(1.0)).backward()
    assert x.grad is not None and bool(torch.isfinite(x.grad).all())


def test_loss_is_computed_in_float32_under_autocast() -> None:
    x, y = torch.randn(32, 16), torch.randn(32, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = infonce(x, y, torch.tensor(4.0))
    assert torch.equal(mixed, infonce(x, y, torch.tensor(4.0)))


def test_scale_is_clamped_in_place_and_keeps_its_gradient() -> None:
    scale = nn.Parameter(torch.tensor(9.0))
    clamp_log_scale_(scale)
    assert scale.item() == pytest.approx(math.log(100))
    infonce(torch.randn(4, 3), torch.randn(4, 3), scale).backward()
    assert scale.grad is not None and scale.grad.item() != 0.0


def test_accuracy_counts_found_partners() -> None:
    x = torch.eye(4)
    y = torch.eye(4)[[0, 1, 3, 2]]
    assert top1_accuracy(x, y).item() == 0.5
