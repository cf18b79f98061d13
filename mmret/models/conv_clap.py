"""ConvClap: a small convolutional audio tower beside a sentence encoder, the architecture of mmret-mini.

The tower is distilled from an AudioSet tagger (M2D-X's offline task with a tagger as the teacher), so it carries the
tagger's embedding and tags. A clip's vector starts from ConSE (Norouzi et al., "Zero-shot learning by convex
combination of semantic embeddings", ICLR 2014), the text vectors of the strongest tags weighted by their
probabilities, which keeps the vocabulary open; a caption head learnt from labelled clips adds what the tags get wrong.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from mmret.errors import ModelFormatError

_NORM_EPS = 1e-12
_KEYS_BESIDE_ENCODER = [r"^head\."]
_SIZES = ("num_mel_bins", "frame_dim", "teacher_dim", "num_tags", "tag_hidden_dim", "head_hidden_dim", "projection_dim")
# Far above any use: a config.json beyond it is damaged or hostile, and building it would exhaust memory.
_LARGEST = 8192


class ConvClapConfig(PreTrainedConfig):
    """Sizes and constants of a ConvClap model; `text_config` is a BertConfig as a dictionary."""

    model_type = "conv_clap"

    num_mel_bins: int = 80
    channels: tuple[int, ...] = (32, 64, 128, 256, 384)
    frame_dim: int = 640
    teacher_dim: int = 384
    num_tags: int = 527
    tag_hidden_dim: int = 512
    head_hidden_dim: int = 512
    projection_dim: int = 384
    top_tags: int = 10
    tag_power: float = 0.7
    head_weight: float = 0.5
    norm_mean: float = -7.1
    norm_std: float = 4.2
    sample_rate: int = 16_000
    window_s: float = 5.12
    hop_s: float = 2.56
    min_samples: int = 40_960
    text_config: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Check every size before anything is built from it."""
        super().__post_init__(**kwargs)
        self.channels = tuple(self.channels)
        sizes = {name: getattr(self, name) for name in _SIZES} | {"len(channels)": len(self.channels)}
        sizes |= {f"channels[{layer}]": width for layer, width in enumerate(self.channels)}
        for name, value in sizes.items():
            if not isinstance(value, int) or not 1 <= value <= _LARGEST:
                raise ModelFormatError(
                    f"ConvClapConfig: {name} is {value!r}; it must be a whole number 1 to {_LARGEST}"
                )


def _conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, mels, frames), same shape out."""
        return functional.relu(x + self.norm(self.second(self.first(x))))


class ConvTower(nn.Module):
    """Residual convolutions down to 1/16 of the log-mel in both directions, then one vector a time step.

    Dense 3x3 kernels: on processors with bf16 they train twice as fast as depthwise ones, with fewer operations
    wasted on memory traffic.
    """

    norm_stats: Tensor

    def __init__(self, config: ConvClapConfig) -> None:
        super().__init__()
        self.register_buffer("norm_stats", torch.tensor([config.norm_mean, config.norm_std]))
        stem, *middle, last = config.channels
        layers: list[nn.Module] = [_conv(1, stem, kernel=5, stride=2)]
        for inputs, outputs in zip([stem, *middle[:-1]], middle, strict=True):
            layers += [_conv(inputs, outputs, stride=2), _Residual(outputs)]
        self.layers = nn.Sequential(*layers, _conv(middle[-1], last))
        rows = -(-config.num_mel_bins // 2 ** (len(config.channels) - 1))
        self.to_frames = nn.Linear(last * rows, config.frame_dim)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel (batch, 1, mels, frames), not normalised -> (batch, steps, frame_dim), one step for 16 frames."""
        return self.encode(self.normalise(log_mel))

    def normalise(self, log_mel: Tensor) -> Tensor:
        """Log-mel of any shape -> the same shape with the training set's mean 0 and deviation 1."""
        return (log_mel - self.norm_stats[0]) / self.norm_stats[1]

    def encode(self, normalised: Tensor) -> Tensor:
        """`forward` of a log-mel that is normalised already."""
        # Channels last is the layout in which oneDNN's dense convolutions need no reordering.
        x = self.layers(normalised.contiguous(memory_format=torch.channels_last))
        # As M2D's features: the frequency rows of a step stand side by side, so that pitch is not averaged away.
        return functional.gelu(self.to_frames(x.flatten(1, 2).transpose(1, 2)))


class TeacherHeads(nn.Module):
    """The tagger's embedding and tags, predicted from the tower's time steps."""

    def __init__(self, config: ConvClapConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.frame_dim)
        self.to_embedding = nn.Linear(config.frame_dim, config.teacher_dim)
        self.tags = nn.Sequential(
            nn.Linear(config.teacher_dim, config.tag_hidden_dim),
            nn.Hardswish(),
            nn.Linear(config.tag_hidden_dim, config.num_tags),
        )
        self.register_buffer("logit_mean", torch.zeros(config.num_tags))
        self.register_buffer("logit_std", torch.ones(config.num_tags))

    def embedding_steps(self, frames: Tensor) -> Tensor:
        """Standardised teacher embedding of every time step, (batch, steps, teacher_dim)."""
        return self.to_embedding(self.norm(frames))

    def tag_logits(self, embedding: Tensor) -> Tensor:
        """Logits (batch, num_tags) on the teacher's own scale, from a pooled embedding (batch, teacher_dim)."""
        return self.tags(embedding) * self.logit_std + self.logit_mean


class CaptionHead(nn.Module):
    """What the tags alone get wrong: a correction in the sentence encoder's space."""

    def __init__(self, config: ConvClapConfig) -> None:
        super().__init__()
        width = config.frame_dim + config.teacher_dim
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(
            nn.Linear(width, config.head_hidden_dim),
            nn.GELU(),
            nn.Linear(config.head_hidden_dim, config.projection_dim),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, frame_dim + teacher_dim) -> (batch, projection_dim), of any length."""
        return self.layers(self.norm(features))


def unit(x: Tensor) -> Tensor:
    """Rows of length one; a zero row stays zero."""
    return x / x.norm(dim=-1, keepdim=True).clamp_min(_NORM_EPS)


class ConvClapPreTrainedModel(PreTrainedModel):
    """Base that ties ConvClap to transformers' loading and saving."""

    config_class = ConvClapConfig
    base_model_prefix = "conv_clap"
    main_input_name = "input_features"

    def _init_weights(self, module: nn.Module) -> None:
        """Leave torch's own initialisation: the tower is trained from it, never from a copy of the teacher."""


class ConvClapModel(ConvClapPreTrainedModel):
    """Audio and text in one space.

    >>> model = ConvClapModel(ConvClapConfig(channels=(4, 4, 4, 4, 4), frame_dim=8))
    >>> model.eval().get_audio_features(torch.zeros(2, 1, 80, 64)).pooler_output.shape
    torch.Size([2, 384])
    """

    # Folders of a classifier open as an encoder: its head is left unread.
    _keys_to_ignore_on_load_unexpected = _KEYS_BESIDE_ENCODER

    def __init__(self, config: ConvClapConfig) -> None:
        super().__init__(config)
        self.tower = ConvTower(config)
        self.teacher_heads = TeacherHeads(config)
        self.caption_head = CaptionHead(config)
        self.register_buffer("tag_vectors", torch.zeros(config.num_tags, config.projection_dim))
        self.text_model = (
            BertModel(BertConfig(**config.text_config), add_pooling_layer=False) if config.text_config else None
        )
        self.post_init()

    def features(self, input_features: Tensor) -> Tensor:
        """Log-mel (batch, 1, mels, frames) -> (batch, frame_dim + teacher_dim): pooled frames, teacher embedding."""
        return self.pooled(self.tower(input_features))

    def pooled(self, frames: Tensor) -> Tensor:
        """The tower's frames (batch, steps, frame_dim) -> `features`."""
        return torch.cat([frames.mean(dim=1), self.teacher_heads.embedding_steps(frames).mean(dim=1)], dim=-1)

    def tag_logits(self, features: Tensor) -> Tensor:
        """AudioSet logits (batch, num_tags) of `features`."""
        return self.teacher_heads.tag_logits(features[:, self.config.frame_dim :])

    def tag_vector(self, logits: Tensor) -> Tensor:
        """ConSE: unit vector (batch, projection_dim) of the strongest tags, weighted by their probabilities."""
        probability, index = logits.sigmoid().topk(self.config.top_tags, dim=-1)
        weights = probability**self.config.tag_power
        return unit((weights[..., None] * self.tag_vectors[index]).sum(dim=1))

    def blend(self, features: Tensor) -> Tensor:
        """Unit audio vectors (batch, projection_dim) of `features`."""
        weight = self.config.head_weight
        return unit((1 - weight) * self.tag_vector(self.tag_logits(features)) + weight * self.caption_head(features))

    def get_audio_features(self, input_features: Tensor) -> BaseModelOutputWithPooling:
        """Unit vectors (batch, projection_dim) in `pooler_output` for log-mels (batch, 1, mels, frames)."""
        return BaseModelOutputWithPooling(pooler_output=self.blend(self.features(input_features)))

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> BaseModelOutputWithPooling:
        """Unit vectors (batch, projection_dim) in `pooler_output` for token ids (batch, tokens), mask 1 = real."""
        if self.text_model is None:
            raise ModelFormatError("this ConvClap model reads no text: its configuration has no text_config")
        tokens = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[..., None].to(tokens.dtype)
        mean = (tokens * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1e-9)
        return BaseModelOutputWithPooling(last_hidden_state=tokens, pooler_output=unit(mean))
