"""Features of recordings of any length: chunks of the model's input length, encoded one by one and joined in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from mmret.audio.logmel import LogMelConfig
from mmret.audio.logmel_torch import LogMelTorch
from mmret.models.m2d import FeatureLayout, M2DEncoder


@dataclass(frozen=True)
class TimedEmbeddings:
    """Embeddings (batch, time, dim) and when each begins, `times_ms` (batch, time) in milliseconds."""

    embeddings: Tensor
    times_ms: Tensor


def frame_grid(tokens: Tensor, rows: int) -> Tensor:
    """Patch tokens (batch, rows * time, dim), frequency-major -> (batch, rows, time, dim)."""
    return tokens.reshape(tokens.shape[0], rows, -1, tokens.shape[-1])


def stack_rows(tokens: Tensor, rows: int) -> Tensor:
    """Patch tokens (batch, rows * time, dim) -> (batch, time, rows * dim), lowest frequency first."""
    return frame_grid(tokens, rows).transpose(1, 2).flatten(2)


def mean_rows(tokens: Tensor, rows: int) -> Tensor:
    """Patch tokens (batch, rows * time, dim) -> (batch, time, dim), the mean over frequency."""
    return frame_grid(tokens, rows).mean(dim=1)


class M2DFeatures:
    """Runtime features of an M2D encoder, from waveforms or from normalised log-mels.

    "stacked" joins the frequency rows of a time column into one vector; "flat" keeps every patch token. Gradients
    flow: callers choose `torch.inference_mode()`.
    """

    def __init__(self, model: M2DEncoder, layout: FeatureLayout | None = None) -> None:
        self.model = model
        self.layout = layout or model.config.feature_layout

    @property
    def dim(self) -> int:
        """Width of the features in this layout."""
        config = self.model.config
        return int(config.embed_dim) * (config.grid_size[0] if self.layout == "stacked" else 1)

    @cached_property
    def front_end(self) -> LogMelTorch:
        """Waveform (batch, time) -> log-mel (batch, mels, frames), not normalised."""
        return LogMelTorch(LogMelConfig.for_rate(self.model.config.sample_rate))

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Waveform (batch, time) at the model's rate -> normalised log-mel (batch, 1, mels, frames)."""
        return self.model.normalise(self.front_end.to(waveform.device)(waveform)[:, None])

    def chunk_layers(self, log_mel: Tensor) -> Iterator[list[Tensor]]:
        """Patch tokens (batch, tokens, dim) of every block, chunk after chunk of a log-mel (batch, 1, mels, frames).

        A chunk is the model's input length. The end is filled up to a whole patch with zeros, which after
        normalisation is the mean level. When the input length is no multiple of the patch, a full chunk drops the
        frames beyond its last patch, as in the reference.
        """
        unit, patch = self.model.config.input_size[1], self.model.config.patch_size[1]
        frames = log_mel.shape[-1]
        padded = functional.pad(log_mel, (0, -(frames % unit % patch) % patch))
        for start in range(0, frames, unit):
            yield [layer[:, 1:] for layer in self.model.encode_log_mel(padded[..., start : start + unit])]

    def features(self, log_mel: Tensor) -> Tensor:
        """Features of a normalised log-mel (batch, 1, mels, frames).

        Stacked: (batch, time, rows * dim). Flat: (batch, tokens, dim), frequency-major inside each chunk.
        """
        return torch.cat([self._lay_out(layers[-1]) for layers in self.chunk_layers(log_mel)], dim=1)

    def layer_features(self, log_mel: Tensor) -> list[Tensor]:
        """Features of every block in the layout of `features`; the last is after the final norm."""
        by_layer = zip(*self.chunk_layers(log_mel), strict=True)
        return [torch.cat([self._lay_out(tokens) for tokens in chunks], dim=1) for chunks in by_layer]

    def joined_layers(self, log_mel: Tensor, layers: Sequence[int] = (-1,)) -> Tensor:
        """Features of the named blocks side by side on the last axis; no names means all blocks."""
        features = self.layer_features(log_mel)
        return torch.cat([features[index] for index in layers] if layers else features, dim=-1)

    def one_pass(self, log_mel: Tensor) -> Tensor:
        """Features without chunking, for a model whose `set_duration` fits the input."""
        return self._lay_out(self.model.encode_log_mel(log_mel)[-1][:, 1:])

    def scene_embeddings(self, waveform: Tensor) -> Tensor:
        """Waveform (batch, time) -> one vector a clip (batch, dim): the mean of `features`."""
        return self.features(self.log_mel(waveform)).mean(dim=1)

    def column_features(self, log_mel: Tensor) -> Tensor:
        """One vector a time column (batch, time, dim): stacked features, or in flat layout the mean over frequency."""
        if self.layout == "stacked":
            return self.features(log_mel)
        rows = self.model.config.grid_size[0]
        return torch.cat([mean_rows(layers[-1], rows) for layers in self.chunk_layers(log_mel)], dim=1)

    def timestamp_embeddings(self, waveform: Tensor) -> TimedEmbeddings:
        """Waveform (batch, time) -> one vector a time column and its time: clip length over number of columns."""
        embeddings = self.column_features(self.log_mel(waveform))
        batch, columns, _ = embeddings.shape
        step_ms = waveform.shape[-1] / self.model.config.sample_rate / columns * 1000
        times_ms = torch.arange(columns, device=embeddings.device, dtype=torch.float32) * step_ms
        return TimedEmbeddings(embeddings, times_ms.expand(batch, -1))

    def _lay_out(self, tokens: Tensor) -> Tensor:
        return stack_rows(tokens, self.model.config.grid_size[0]) if self.layout == "stacked" else tokens
