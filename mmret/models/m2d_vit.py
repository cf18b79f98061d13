"""The parts of M2D's vision transformer: patches, positions and blocks, named as in the published checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import initialization as init


@dataclass(frozen=True)
class BlockSize:
    """Sizes shared by the blocks of one stack."""

    dim: int
    num_heads: int
    mlp_ratio: float = 4.0
    layer_norm_eps: float = 1e-6


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention of (batch, heads, tokens, dim) triples, same shape out.

    Written out on a CPU under autocast, where the fused kernel makes bf16 training about 1.3 times slower.
    """
    if query.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        mixed: Tensor = weights.softmax(dim=-1) @ value
        return mixed
    return functional.scaled_dot_product_attention(query, key, value)


class Attention(nn.Module):
    """Multi-head self-attention with one joint projection, rows ordered query, key, value."""

    def __init__(self, size: BlockSize) -> None:
        super().__init__()
        self.num_heads = size.num_heads
        self.qkv = nn.Linear(size.dim, 3 * size.dim)
        self.proj = nn.Linear(size.dim, size.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, dim), same shape out."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed: Tensor = self.proj(attention(query, key, value).transpose(1, 2).reshape(batch, tokens, dim))
        return mixed


class FeedForward(nn.Module):
    """Two linear layers around an exact (erf) GELU."""

    def __init__(self, size: BlockSize) -> None:
        super().__init__()
        hidden = int(size.dim * size.mlp_ratio)
        self.fc1 = nn.Linear(size.dim, hidden)
        self.fc2 = nn.Linear(hidden, size.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, dim), same shape out."""
        projected: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return projected


class Block(nn.Module):
    """Pre-norm transformer block without dropout."""

    def __init__(self, size: BlockSize) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.dim, eps=size.layer_norm_eps)
        self.attn = Attention(size)
        self.norm2 = nn.LayerNorm(size.dim, eps=size.layer_norm_eps)
        self.mlp = FeedForward(size)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, dim), same shape out."""
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x


def block_stack(size: BlockSize, depth: int) -> nn.ModuleList:
    """`depth` blocks of one size."""
    return nn.ModuleList(Block(size) for _ in range(depth))


class PatchEmbed(nn.Module):
    """Non-overlapping patches of a log-mel, each projected to one token."""

    def __init__(self, patch_size: tuple[int, int], dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, log_mel: Tensor) -> Tensor:
        """(batch, 1, mels, frames) -> (batch, tokens, dim), frequency-major; frames that fill no patch are dropped."""
        tokens: Tensor = self.proj(log_mel).flatten(2).transpose(1, 2)
        return tokens


def sincos_positions(grid_size: tuple[int, int], dim: int) -> Tensor:
    """Fixed table (1, 1 + rows * columns, dim): a zero row for CLS, then the grid's patches, frequency-major.

    >>> sincos_positions((2, 3), 8).shape
    torch.Size([1, 7, 8])
    """
    if dim % 4:
        raise ValueError(f"the width of a sin-cos table must be divisible by 4, got {dim}")
    rows, columns = grid_size
    omega = 10000.0 ** (-np.arange(dim // 4) / (dim // 4))
    row, column = np.divmod(np.arange(rows * columns), columns)
    # The first half of the width is the time column, the second the frequency row: the order in which the
    # reference meshes its grid, and the one its weights were trained with.
    angles = [np.outer(column, omega), np.outer(row, omega)]
    table = np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1)
    return torch.from_numpy(np.concatenate([np.zeros((1, dim)), table]).astype(np.float32))[None]


def crop_positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """First `columns` time columns of every frequency row of a table (1, 1 + tokens, dim)."""
    grid = table[:, 1:].unflatten(1, (rows, -1))
    if columns > grid.shape[2]:
        raise ValueError(f"{columns} patch columns are more than the {grid.shape[2]} positions of this model")
    return torch.cat([table[:, :1], grid[:, :, :columns].flatten(1, 2)], dim=1)


def resize_positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """Table (1, 1 + tokens, dim) for another number of time columns: bicubic when longer, cropped when shorter."""
    grid = table[:, 1:].unflatten(1, (rows, -1))
    if columns <= grid.shape[2]:
        return crop_positions(table, rows, columns)
    stretched = functional.interpolate(grid.permute(0, 3, 1, 2), (rows, columns), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], stretched.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def initialise(module: nn.Module) -> None:
    """Set the weights of one module of this file as the reference does; leaves already loaded ones alone."""
    if isinstance(module, nn.Linear):
        init.xavier_uniform_(module.weight)
        if module.bias is not None:
            init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        init.ones_(module.weight)
        init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        _xavier_uniform_of_patches(module.weight)
        if module.bias is not None:
            init.zeros_(module.bias)


def _xavier_uniform_of_patches(weight: Tensor) -> None:
    """Xavier bound of the (dim, pixels) view, which torch's own fan computation of a kernel would not give."""
    bound = (6.0 / (weight.shape[0] + weight[0].numel())) ** 0.5
    init.uniform_(weight, -bound, bound)
