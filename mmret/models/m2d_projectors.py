"""From audio tokens and from text vectors to the space that M2D-CLAP's two sides share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmret.models.m2d_vit import BlockSize, block_stack

_SEMANTIC_LAYER_NORM_EPS = 1e-5


class MeanTokens(nn.Module):
    """Plain average, for checkpoints without an audio projector."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) -> (batch, dim)."""
        return tokens.mean(dim=1)


class MeanMlp(nn.Sequential):
    """Average, then two linear layers: the audio projector of 2024."""

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) -> (batch, dim)."""
        projected: Tensor = super().forward(tokens.mean(dim=1))
        return projected


class SemanticToken(nn.Module):
    """A learned token that attends to all tokens without positions: the audio projector of 2025."""

    def __init__(self, size: BlockSize, depth: int) -> None:
        super().__init__()
        self.sem_token = nn.Parameter(torch.zeros(1, 1, size.dim))
        self.sem_blocks = block_stack(size, depth)
        self.norm = nn.LayerNorm(size.dim, eps=size.layer_norm_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) -> (batch, dim)."""
        x = torch.cat([self.sem_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        for block in self.sem_blocks:
            x = block(x)
        projected: Tensor = self.norm(x[:, 0])
        return projected


def semantic_token(dim: int, depth: int, *, mlp_ratio: float) -> SemanticToken:
    """Semantic projector with one head and this many blocks; the released model has one block and ratio 1."""
    return SemanticToken(BlockSize(dim, 1, mlp_ratio, _SEMANTIC_LAYER_NORM_EPS), depth)


def text_mlp(text_dim: int, dim: int) -> nn.Sequential:
    """Two-layer text projector, (batch, text dim) -> (batch, dim)."""
    return nn.Sequential(nn.Linear(text_dim, text_dim), nn.ReLU(), nn.Linear(text_dim, dim))
