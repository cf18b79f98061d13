"""The arithmetic of M2D's pre-training: losses on tokens, patches as targets, and the moving average of the target."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmret.models.m2d import TokenLoss

_VARIANCE_EPS = 1e-6


def standardise(tokens: Tensor) -> Tensor:
    """Tokens (batch, tokens, dim) with mean 0 and (unbiased) variance 1 over dim."""
    mean = tokens.mean(dim=-1, keepdim=True)
    return (tokens - mean) / (tokens.var(dim=-1, keepdim=True) + _VARIANCE_EPS).sqrt()


def token_loss(prediction: Tensor, target: Tensor, kind: TokenLoss) -> Tensor:
    """Mean over tokens of (batch, tokens, dim) pairs: 2 - 2 cosine ("norm_mse") or squared difference ("mse")."""
    prediction, target = prediction.float(), target.float()
    if kind == "mse":
        return functional.mse_loss(prediction, target)
    cosine = (functional.normalize(prediction, dim=-1) * functional.normalize(target, dim=-1)).sum(dim=-1)
    return (2 - 2 * cosine).mean()


def patchify(log_mel: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """(batch, 1, mels, frames) -> pixels of every patch (batch, tokens, pixels), row-major in and over the patches."""
    height, width = patch_size
    batch, _, mels, frames = log_mel.shape
    rows, columns = mels // height, frames // width
    grid = log_mel[..., : rows * height, : columns * width].reshape(batch, rows, height, columns, width)
    return grid.transpose(2, 3).reshape(batch, rows * columns, height * width)


def unpatchify(pixels: Tensor, patch_size: tuple[int, int], rows: int) -> Tensor:
    """Undo `patchify`: (batch, tokens, pixels) -> (batch, 1, mels, frames)."""
    height, width = patch_size
    grid = pixels.reshape(pixels.shape[0], rows, -1, height, width).transpose(2, 3)
    return grid.reshape(pixels.shape[0], 1, rows * height, -1)


def average_teacher_frames(features: Tensor, patch_frames: int, *, teacher_hop_frames: int = 2) -> Tensor:
    """Teacher features (..., time, dim) -> one mean a patch (..., patches, dim).

    M2D-S distils a speech model that steps 20 ms, two log-mel frames, into patches of `patch_frames` frames.
    """
    steps = max(patch_frames // teacher_hop_frames, 1)
    patches = features.shape[-2] // steps
    grid = features[..., : patches * steps, :]
    return grid.reshape(*grid.shape[:-2], patches, steps, grid.shape[-1]).mean(dim=-2)


def ema_decay_at(step: int, total_steps: int, *, first: float = 0.99995, last: float = 0.99999) -> float:
    """Decay of the target network at a micro batch, linear from `first` to `last`.

    >>> ema_decay_at(0, 10), ema_decay_at(9, 10)
    (0.99995, 0.99999)
    """
    return first + (last - first) * step / max(total_steps - 1, 1)


@torch.no_grad()
def update_average(average: nn.Module, current: nn.Module, decay: float) -> None:
    """Move the parameters of `average` towards those of `current`, by 1 - decay."""
    old: list[Tensor] = list(average.parameters())
    new: list[Tensor] = list(current.parameters())
    # one call for all of them: on a GPU a loop over a hundred small tensors costs more than the arithmetic
    torch._foreach_lerp_(old, new, 1 - decay)
