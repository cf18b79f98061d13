"""Contrastive loss between two sets of paired embeddings, in one process or across many."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional

INITIAL_LOG_SCALE = math.log(1 / 0.07)
MAX_LOG_SCALE = math.log(100.0)
MIN_NORM = 1e-12


def _unit_rows(x: Tensor) -> Tensor:
    """Rows of x (pairs, dim) at unit length, in float32 at least: half precision loses the small differences."""
    return functional.normalize(x if x.dtype == torch.float64 else x.float(), dim=-1, eps=MIN_NORM)


def pair_logits(x: Tensor, y: Tensor, log_scale: Tensor) -> Tensor:
    """Scaled cosines of raw rows x (rows, dim) with y (columns, dim) -> (rows, columns)."""
    with torch.autocast(x.device.type, enabled=False):
        unit_x, unit_y = _unit_rows(x), _unit_rows(y)
        return log_scale.to(unit_x.dtype).exp() * (unit_x @ unit_y.T)


def infonce_one_way(x: Tensor, y: Tensor, log_scale: Tensor, first: int = 0) -> Tensor:
    """Cross entropy of finding, for each row of x, its partner in y; row i of x belongs to row `first` + i of y."""
    labels = torch.arange(first, first + len(x), device=x.device)
    return functional.cross_entropy(pair_logits(x, y, log_scale), labels)


def infonce(x: Tensor, y: Tensor, log_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of raw rows x and y (pairs, dim), row i of x with row i of y -> scalar."""
    logits = pair_logits(x, y, log_scale)
    labels = torch.arange(len(x), device=x.device)
    return (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2


def infonce_across_processes(x: Tensor, y: Tensor, log_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE over the pairs of all processes; each passes its own rows x and y (pairs, dim), equally many.

    Each process scores its own rows against the columns of all. The mean over processes is the loss of the joint batch,
    and the mean of the gradients, which is what DistributedDataParallel takes, is the joint gradient: no factor needed.
    """
    if _processes() == 1:
        return infonce(x, y, log_scale)
    first = distributed.get_rank() * len(x)
    from_x = infonce_one_way(x, gather_with_gradient(y), log_scale, first)
    from_y = infonce_one_way(y, gather_with_gradient(x), log_scale, first)
    return (from_x + from_y) / 2


def top1_accuracy(x: Tensor, y: Tensor) -> Tensor:
    """Share of rows of x (pairs, dim) whose nearest row of y is their partner."""
    nearest = pair_logits(x, y, x.new_zeros(())).argmax(dim=1)
    return (nearest == torch.arange(len(x), device=x.device)).float().mean()


def clamp_log_scale_(log_scale: Tensor) -> Tensor:
    """Hold the scale's logarithm in [0, ln 100], in place.

    Meant for after an optimiser step: a clamp in the forward pass would end the gradient at the border.
    """
    with torch.no_grad():
        return log_scale.clamp_(0.0, MAX_LOG_SCALE)


def gather_with_gradient(x: Tensor) -> Tensor:
    """Rows of all processes in rank order: (rows, ...) -> (processes * rows, ...), differentiable."""
    if _processes() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
    return gathered


def _processes() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class _Gather(torch.autograd.Function):
    """All-gather whose backward sums what every process owes to this one's rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Gather x (rows, ...) of all processes."""
        parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Sum the gradients over processes and keep the own rows."""
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]
