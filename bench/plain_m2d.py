"""M2D's pre-training step written down plainly in PyTorch, as the peer that bench/pretraining.py times.

Niizumi et al. 2024, section III, float32 throughout: masked patches alone in the target network, attention written out,
AdamW without fusing, the target moved parameter by parameter. Names are those of the published checkpoints, so that
mmret's weights load.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CLIP = 3.0


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim), "proj": nn.Linear(dim, dim)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, dim), same shape out."""
        batch, tokens, dim = x.shape
        qkv = self.attn["qkv"](self.norm1(x)).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query @ key.transpose(-2, -1) * (dim // self.heads) ** -0.5).softmax(dim=-1)
        x = x + self.attn["proj"]((weights @ value).transpose(1, 2).reshape(batch, tokens, dim))
        return x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))


class PlainM2D(nn.Module):
    """Online encoder, predictor and target network, with a mask given by its shuffled order."""

    def __init__(self, sizes: dict[str, int], patch: int, tokens: int) -> None:
        super().__init__()
        dim, heads, width = sizes["embed_dim"], sizes["num_heads"], sizes["decoder_embed_dim"]
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, patch, patch)})
        self.cls_token, self.mask_token = nn.Parameter(torch.zeros(1, 1, dim)), nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + tokens, dim), requires_grad=False)
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, 1 + tokens, width), requires_grad=False)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(sizes["depth"]))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.decoder_embed, self.decoder_pred = nn.Linear(dim, width), nn.Linear(width, dim)
        self.decoder_blocks = nn.ModuleList(
            Block(width, sizes["decoder_num_heads"]) for _ in range(sizes["decoder_depth"])
        )
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.target_blocks = nn.ModuleList(Block(dim, heads) for _ in range(sizes["depth"]))
        self.target_norm = nn.LayerNorm(dim, eps=1e-6)
        for part in (self.target_blocks, self.target_norm):
            part.requires_grad_(False)

    def forward(self, log_mel: Tensor, ids_shuffle: Tensor, len_keep: int) -> Tensor:
        """Loss of a normalised log-mel (batch, 1, mels, frames) under a mask."""
        x = self.patch_embed["proj"](log_mel).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        visible, hidden = ids_shuffle[:, :len_keep], ids_shuffle[:, len_keep:]
        latent = self._encode(_pick(x, visible), self.blocks, self.norm)
        with torch.no_grad():
            target = self._encode(_pick(x, hidden), self.target_blocks, self.target_norm)[:, 1:]
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        prediction = _pick(self._predict(latent, ids_shuffle), hidden)
        cosine = (functional.normalize(prediction, dim=-1) * functional.normalize(target, dim=-1)).sum(-1)
        return (2 - 2 * cosine).mean()

    def _encode(self, tokens: Tensor, blocks: nn.ModuleList, norm: nn.LayerNorm) -> Tensor:
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        x = torch.cat([cls, tokens], dim=1)
        for block in blocks:
            x = block(x)
        return norm(x)

    def _predict(self, latent: Tensor, ids_shuffle: Tensor) -> Tensor:
        x = self.decoder_embed(latent)
        blanks = self.mask_token.repeat(len(x), ids_shuffle.shape[1] + 1 - x.shape[1], 1)
        placed = _pick(torch.cat([x[:, 1:], blanks], dim=1), ids_shuffle.argsort(dim=1))
        x = torch.cat([x[:, :1], placed], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))[:, 1:]


def _pick(tokens: Tensor, index: Tensor) -> Tensor:
    return torch.gather(tokens, 1, index.unsqueeze(-1).repeat(1, 1, tokens.shape[-1]))


class PlainStep:
    """One optimiser step after another on the same batch."""

    def __init__(self, model: PlainM2D, learning_rate: float, decay: float) -> None:
        self.model, self._decay = model, decay
        self._trained = [weight for weight in model.parameters() if weight.requires_grad]
        self._optimiser = torch.optim.AdamW(self._trained, lr=learning_rate, betas=(0.9, 0.95), foreach=False)

    def __call__(self, log_mel: Tensor, ids_shuffle: Tensor, len_keep: int) -> float:
        """Loss before the step."""
        loss = self.model(log_mel, ids_shuffle, len_keep)
        loss.backward()
        nn.utils.clip_grad_norm_(self._trained, CLIP)
        self._optimiser.step()
        self._optimiser.zero_grad()
        with torch.no_grad():
            online = [*self.model.blocks.parameters(), *self.model.norm.parameters()]
            target = [*self.model.target_blocks.parameters(), *self.model.target_norm.parameters()]
            for new, old in zip(online, target, strict=True):
                old.data = old.data * self._decay + (1 - self._decay) * new.data
        return loss.item()
