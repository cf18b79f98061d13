"""Classification on top of ConvClap's tower: mmret-mini fine-tuned to a user's own labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput

from mmret.models.conv_clap import ConvClapConfig, ConvClapModel, ConvClapPreTrainedModel
from mmret.models.m2d_heads import NormLinear, label_loss


class ConvClapForAudioClassification(ConvClapPreTrainedModel):
    """ConvClap with a classification head on its pooled frames and the teacher's embedding.

    >>> config = ConvClapConfig(channels=(4, 4, 4, 4, 4), frame_dim=8, num_labels=3)
    >>> ConvClapForAudioClassification(config).eval()(torch.zeros(2, 1, 80, 64)).logits.shape
    torch.Size([2, 3])
    """

    def __init__(self, config: ConvClapConfig) -> None:
        super().__init__(config)
        self.conv_clap = ConvClapModel(config)
        self.head = NormLinear(config.frame_dim + config.teacher_dim, int(config.num_labels or 0))
        self.post_init()
        for unheard in (self.conv_clap.caption_head, self.conv_clap.teacher_heads.tags):
            unheard.requires_grad_(False)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self.head.linear:
            init.normal_(module.weight, std=0.01)
            init.zeros_(module.bias)

    def normalise(self, log_mel: Tensor) -> Tensor:
        """Log-mel of any shape, as the front end gives it -> what `forward` takes."""
        return self.conv_clap.tower.normalise(log_mel)

    def forward(self, input_features: Tensor, labels: Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
        """Normalised log-mel (batch, 1, mels, frames) -> `logits` (batch, classes).

        `labels` are class indices (batch,) or multi-hot rows (batch, classes); they add the matching `loss`.
        """
        logits = self.head(self.conv_clap.pooled(self.conv_clap.tower.encode(input_features)))
        return SequenceClassifierOutput(loss=None if labels is None else label_loss(logits, labels), logits=logits)
