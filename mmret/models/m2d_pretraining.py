"""M2D's pre-training network: an online encoder that predicts what a slowly moving target says of hidden patches.

One class gives the whole family. `M2DConfig.prediction_target` "pixels" makes it MSM-MAE, `target_input` "all" the
ablation whose target sees every patch, `offline_task` adds the second task of M2D-X and M2D-S ("distil") or of M2D-AS
("tags").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from mmret.models.m2d import M2DConfig, M2DEncoder
from mmret.models.m2d_features import stack_rows
from mmret.models.m2d_masking import TokenMask, column_run_mask, random_mask
from mmret.models.m2d_objectives import patchify, standardise, token_loss, unpatchify, update_average
from mmret.models.m2d_vit import block_stack, crop_positions, sincos_positions


@dataclass
class M2DPreTrainingOutput(ModelOutput):
    """Losses of one step and the tensors they were computed from.

    `latent` (batch, 1 + visible, dim) with CLS; `prediction` and `target` (batch, hidden, dim) in shuffled order;
    `decoded` (batch, tokens, dim) every token of the predictor in natural order; `hidden` (batch, tokens) True where
    hidden; `offline_prediction` (batch, time, offline dim), for tags before the mean over time.
    """

    loss: Tensor | None = None
    online_loss: Tensor | None = None
    offline_loss: Tensor | None = None
    latent: Tensor | None = None
    prediction: Tensor | None = None
    decoded: Tensor | None = None
    target: Tensor | None = None
    hidden: Tensor | None = None
    offline_prediction: Tensor | None = None


class M2DForPreTraining(M2DEncoder):
    """Online encoder, predictor and target network.

    >>> config = M2DConfig(input_size=(80, 64), embed_dim=16, depth=1, num_heads=2, decoder_depth=1)
    >>> step = M2DForPreTraining(config)(torch.zeros(2, 1, 80, 64), generator=torch.Generator().manual_seed(0))
    >>> step.prediction.shape
    torch.Size([2, 14, 16])
    """

    fixed_parts: ClassVar[tuple[str, ...]] = (
        *M2DEncoder.fixed_parts,
        "decoder_pos_embed",
        "target_blocks",
        "target_norm",
    )

    def __init__(self, config: M2DConfig) -> None:
        super().__init__(config)
        width, pixels = config.decoder_embed_dim, config.patch_size[0] * config.patch_size[1]
        tokens = self.pos_embed.shape[1]
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_embed = nn.Linear(config.embed_dim, width)
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        self.decoder_blocks = block_stack(config.decoder_block_size, config.decoder_depth)
        self.decoder_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.decoder_pred = nn.Linear(width, config.embed_dim if config.prediction_target == "features" else pixels)
        if config.prediction_target == "features":
            # As in the reference the target starts from its own random weights, not from a copy of the online side.
            self.target_blocks = block_stack(config.block_size, config.depth)
            self.target_norm = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        if config.offline_task != "none":
            self.offline_predictor = nn.Linear(config.grid_size[0] * config.embed_dim, config.offline_dim)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, M2DForPreTraining):
            init.normal_(module.mask_token, std=0.02)
            table = sincos_positions(module.config.grid_size, module.config.decoder_embed_dim)
            init.copy_(module.decoder_pos_embed, table)

    def forward(
        self,
        input_features: Tensor,
        *,
        mask: TokenMask | None = None,
        generator: torch.Generator | None = None,
        offline_target: Tensor | None = None,
        **_: Any,
    ) -> M2DPreTrainingOutput:
        """One step on a normalised log-mel (batch, 1, mels, frames), with a given mask or one drawn by `generator`.

        `offline_target` is the teacher's (batch, time, offline dim) for "distil", multi-hot (batch, classes) for
        "tags".
        """
        mask = self.draw_mask(input_features, generator) if mask is None else mask
        tokens = self.patch_tokens(input_features)
        latent = self.encode(self.with_cls(mask.visible_of(tokens)))[-1]
        decoded = self.predict(latent, mask)
        prediction = mask.hidden_of(decoded)
        target = self.target(input_features, tokens, mask)
        online_loss = self.loss_of(prediction, target)
        output = M2DPreTrainingOutput(
            loss=self.config.online_weight * online_loss,
            online_loss=online_loss,
            latent=latent,
            prediction=prediction,
            decoded=decoded,
            target=target,
            hidden=mask.hidden,
        )
        if self.config.offline_task != "none":
            self._add_offline_task(output, self.offline_tokens(latent, prediction, mask), offline_target)
        return output

    def draw_mask(self, input_features: Tensor, generator: torch.Generator | None) -> TokenMask:
        """Random mask over the patches of a log-mel (batch, 1, mels, frames), at the configured ratio."""
        if generator is None:
            raise ValueError("pre-training needs either a mask or a generator to draw one")
        rows, columns = (n // p for n, p in zip(input_features.shape[2:], self.config.patch_size, strict=True))
        batch, ratio, run = input_features.shape[0], self.config.mask_ratio, self.config.mask_run
        if run:
            mask = column_run_mask((batch, rows, columns), ratio, run, generator)
        else:
            mask = random_mask((batch, rows * columns), ratio, generator)
        return TokenMask(mask.ids_restore.to(input_features.device), mask.len_keep)

    def predict(self, latent: Tensor, mask: TokenMask) -> Tensor:
        """Encoded CLS and visible tokens (batch, 1 + visible, dim) -> prediction of every token, natural order."""
        embedded = self.decoder_embed(latent)
        batch, tokens = mask.ids_restore.shape
        blanks = self.mask_token.to(embedded.dtype).expand(batch, tokens - mask.len_keep, -1)
        placed = mask.unshuffle(torch.cat([embedded[:, 1:], blanks], dim=1))
        rows = self.config.grid_size[0]
        x = torch.cat([embedded[:, :1], placed], dim=1)
        x = x + crop_positions(self.decoder_pos_embed, rows, tokens // rows)
        for block in self.decoder_blocks:
            x = block(x)
        decoded: Tensor = self.decoder_pred(self.decoder_norm(x))[:, 1:]
        return decoded

    @torch.no_grad()
    def target(self, input_features: Tensor, tokens: Tensor, mask: TokenMask) -> Tensor:
        """What is to be predicted of the hidden patches, (batch, hidden, dim) in shuffled order, not standardised."""
        if self.config.prediction_target == "pixels":
            return mask.hidden_of(patchify(input_features, self.config.patch_size))
        if self.config.target_input == "all":
            return mask.hidden_of(self.target_encode(tokens)[:, 1:])
        return self.target_encode(mask.hidden_of(tokens))[:, 1:]

    @torch.no_grad()
    def target_encode(self, tokens: Tensor) -> Tensor:
        """Patch tokens (batch, tokens, dim) -> output of the target network (batch, 1 + tokens, dim) with CLS."""
        x = self.with_cls(tokens)
        layers = []
        for block in self.target_blocks:
            x = block(x)
            layers.append(x)
        chosen = [layers[number] for number in self.config.target_layers]
        target: Tensor = torch.stack(chosen).mean(dim=0) if chosen else self.target_norm(x)
        return target

    def loss_of(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Configured token loss of two (batch, tokens, dim)."""
        target = standardise(target.float()) if self.config.standardise_target else target
        return token_loss(prediction, target, self.config.token_loss)

    def _add_offline_task(self, output: M2DPreTrainingOutput, tokens: Tensor, offline_target: Tensor | None) -> None:
        if offline_target is None:
            raise ValueError(f"the offline task {self.config.offline_task!r} needs offline_target")
        output.offline_prediction = self.offline_predictor(tokens)
        output.offline_loss = self.offline_loss(output.offline_prediction, offline_target)
        output.loss = output.loss + self.config.offline_weight * output.offline_loss

    def offline_tokens(self, latent: Tensor, prediction: Tensor, mask: TokenMask) -> Tensor:
        """Encoded visible and predicted hidden tokens, in place and stacked: (batch, time, rows * dim)."""
        tokens = mask.unshuffle(torch.cat([latent[:, 1:], prediction], dim=1))
        return stack_rows(tokens, self.config.grid_size[0])

    def offline_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Loss of the second task from its prediction (batch, time, offline dim)."""
        compared = prediction.mean(dim=1) if self.config.offline_task == "tags" else prediction
        if compared.shape != target.shape:
            raise ValueError(
                f"offline_target of shape {tuple(target.shape)} cannot be compared with the prediction "
                f"{tuple(compared.shape)}; the teacher must have the same time columns and width"
            )
        if self.config.offline_task == "tags":
            return functional.binary_cross_entropy_with_logits(compared.float(), target.float())
        return self.loss_of(compared, target)

    def reconstruct(self, input_features: Tensor, mask: TokenMask) -> Tensor:
        """Log-mel (batch, 1, mels, frames) with hidden patches as predicted, visible ones copied; "pixels" only."""
        pixels = patchify(input_features, self.config.patch_size)
        latent = self.encode(self.with_cls(mask.visible_of(self.patch_tokens(input_features))))[-1]
        filled = torch.where(mask.hidden[..., None], self.predict(latent, mask), pixels)
        return unpatchify(filled, self.config.patch_size, self.config.grid_size[0])

    def update_target(self, decay: float) -> None:
        """Move the target network towards the online one; call after every optimiser step."""
        if self.config.prediction_target == "features":
            update_average(self.target_blocks, self.blocks, decay)
            update_average(self.target_norm, self.norm, decay)
