"""The optimisers of a run: AdamW, SGD with momentum, and LARS in two readings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from mmret.training.config import TrainingConfig

Groups = list[dict[str, Any]]


class Lars(Optimizer):
    """SGD with momentum whose gradients are scaled to the norm of their weights (You et al., 2017).

    `scales` tells which tensors: "decayed" those with weight decay, as timm's class does, which without any decay is
    plain SGD; "matrices" those with more than one axis, as MoCo v3's does.
    """

    def __init__(
        self,
        parameters: Any,
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        scales: Literal["decayed", "matrices"] = "matrices",
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "scales": scales})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        assert closure is None, "the training loop gives no closure"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        scaled = _decayed if group["scales"] == "decayed" else _matrices
        gradient = scaled(parameter, group["weight_decay"])
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        parameter.add_(buffer, alpha=-group["lr"])


TRUST = 0.001
_EPS = 1e-8


def _decayed(parameter: Tensor, decay: float) -> Tensor:
    """Gradient of timm's LARS."""
    assert parameter.grad is not None
    if not decay:
        return parameter.grad
    weight, gradient = parameter.norm(), parameter.grad.norm()
    return _trusted(parameter.grad + decay * parameter, weight, gradient, gradient + weight * decay + _EPS)


def _matrices(parameter: Tensor, decay: float) -> Tensor:
    """Gradient of MoCo's LARS."""
    assert parameter.grad is not None
    if parameter.ndim < 2:
        return parameter.grad
    update = parameter.grad + decay * parameter
    norm = update.norm()
    return _trusted(update, parameter.norm(), norm, norm)


def _trusted(update: Tensor, weight: Tensor, gradient: Tensor, divisor: Tensor) -> Tensor:
    """The update scaled by trust * weight / divisor; as it is where a norm is zero."""
    return update * torch.where((weight > 0) & (gradient > 0), TRUST * weight / divisor, torch.ones_like(weight))


def make_optimiser(groups: Groups, config: TrainingConfig) -> Optimizer:
    """The optimiser that a configuration names."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimiser == "adamw":
        return torch.optim.AdamW(
            groups, lr=rate, betas=config.betas, weight_decay=decay, amsgrad=config.amsgrad, fused=True
        )
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=config.momentum, weight_decay=decay)
    scales: Literal["decayed", "matrices"] = "decayed" if config.optimiser == "lars" else "matrices"
    return Lars(groups, lr=rate, momentum=config.momentum, weight_decay=decay, scales=scales)
