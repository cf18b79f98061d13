"""Classification on top of M2D's features, one label set a clip or a time column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput

from mmret.models.m2d import M2DConfig, M2DModel, M2DPreTrainedModel
from mmret.models.m2d_features import M2DFeatures


class NormLinear(nn.Module):
    """Batch normalisation without scale or offset, then one linear layer: the head of linear evaluation."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False)
        self.linear = nn.Linear(dim, classes)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, dim) -> (batch, classes), or with a time axis in the middle of both."""
        normed = self.norm(features.transpose(1, -1)).transpose(1, -1)
        logits: Tensor = self.linear(normed)
        return logits


class WeightedLayers(nn.Module):
    """Weighted sum over the layers of a frozen encoder, as SUPERB takes its features; the weights are learnt.

    >>> WeightedLayers(2)([torch.zeros(1, 3, 4), torch.ones(1, 3, 4)]).mean().item()
    0.5
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features (batch, time, dim) of every layer, `M2DFeatures.layer_features`, -> (batch, time, dim)."""
        if len(features) != len(self.weights):
            raise ValueError(f"features of {len(features)} layers were given, weights are for {len(self.weights)}")
        return torch.einsum("l,lbtd->btd", self.weights.softmax(dim=0), torch.stack(list(features)))


class M2DForAudioClassification(M2DPreTrainedModel):
    """M2D with a classification head; `feature_layout` of the configuration gives the head's width.

    >>> config = M2DConfig(input_size=(80, 64), embed_dim=16, depth=1, num_heads=2, num_labels=3)
    >>> M2DForAudioClassification(config).eval()(torch.zeros(2, 1, 80, 64)).logits.shape
    torch.Size([2, 3])
    """

    def __init__(self, config: M2DConfig) -> None:
        super().__init__(config)
        self.m2d = M2DModel(config)
        self.head = NormLinear(config.feature_dim, int(config.num_labels or 0))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.BatchNorm1d):
            for buffer, value in zip(module.buffers(), (0.0, 1.0, 0), strict=True):
                init.constant_(buffer, value)
        elif module is self.head.linear:  # not the NormLinear: transformers passes over modules without own weights
            # Nearly zero, so that fine-tuning starts from equal scores and leaves the encoder alone at first.
            init.trunc_normal_(self.head.linear.weight, std=2e-5)

    @property
    def features(self) -> M2DFeatures:
        """Runtime features of the encoder, in the layout that the head was made for."""
        return M2DFeatures(self.m2d)

    def normalise(self, log_mel: Tensor) -> Tensor:
        """Log-mel of any shape, as the front end gives it -> what `forward` takes."""
        return self.m2d.normalise(log_mel)

    def forward(
        self, input_features: Tensor, labels: Tensor | None = None, kept_tokens: Tensor | None = None, **_: Any
    ) -> SequenceClassifierOutput:
        """Normalised log-mel (batch, 1, mels, frames) of any length -> `logits` (batch, classes).

        `labels` are class indices (batch,) or multi-hot rows (batch, classes); they add the matching `loss`.
        `kept_tokens` (batch, kept) are the numbers of the tokens that structured patch-out leaves, in flat layout.
        """
        if kept_tokens is None:
            features = self.features.features(input_features)
        else:
            assert self.config.feature_layout == "flat", "patch-out leaves no whole columns to stack"
            features = self.m2d.encode_some(input_features, kept_tokens)
        logits = self.head(features.mean(dim=1))
        return SequenceClassifierOutput(loss=None if labels is None else label_loss(logits, labels), logits=logits)

    def frame_logits(self, input_features: Tensor) -> Tensor:
        """Normalised log-mel (batch, 1, mels, frames) -> logits of every time column (batch, time, classes)."""
        logits: Tensor = self.head(self.features.column_features(input_features))
        return logits


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy for class indices (batch,), binary cross entropy for multi-hot rows (batch, classes)."""
    if labels.ndim == 1:
        return functional.cross_entropy(logits, labels)
    return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
