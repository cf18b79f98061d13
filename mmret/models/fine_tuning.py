"""Fine-tuning of a classifier on labelled clips, as M2D is evaluated (EVAR): network, augmentation, loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mmret.audio.augment import draw_mixup, draw_window, resize_crop, spec_augment
from mmret.audio.logmel import LogMelConfig
from mmret.audio.logmel_torch import LogMelTorch
from mmret.errors import ModelFormatError, TrainingError
from mmret.losses.classification import mean_cross_entropy
from mmret.models.conv_clap import ConvClapModel
from mmret.models.conv_clap_heads import ConvClapForAudioClassification
from mmret.models.m2d import M2DModel
from mmret.models.m2d_clap import M2DClapModel
from mmret.models.m2d_heads import M2DForAudioClassification
from mmret.models.m2d_patch_out import draw_marks, kept_tokens

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class FineTuneConfig:
    """What a clip goes through on its way to the encoder, and what of the encoder stays as it is.

    `mixup_alpha` mixes clips by shares from Beta(alpha, alpha); `freq_mask` mels and `time_mask` frames bound
    SpecAugment's bands; `resize_crop` stretches random parts of the spectrogram; 0, 0, 0 and False leave them out.
    Of M2D alone: `training_mask` is the share of structured patch-out, `dur_frames` the input length to stretch or
    crop the positions to, `freeze_patch_embed` keeps the patch embedding. `compat_keep_marked` repeats the
    reference's patch-out, which keeps the tokens that were to go.
    """

    mixup_alpha: float = 0.0
    freq_mask: int = 0
    time_mask: int = 0
    resize_crop: bool = False
    training_mask: float = 0.0
    compat_keep_marked: bool = False
    dur_frames: int | None = None
    freeze_patch_embed: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work."""
        wrong = [name for name in ("mixup_alpha", "freq_mask", "time_mask") if not 0 <= getattr(self, name) < inf]
        if wrong:
            raise TrainingError(f"{wrong[0]} must be at least 0, not {getattr(self, wrong[0])}")
        if self.freq_mask > LogMelConfig.n_mels:
            raise TrainingError(f"freq_mask must be at most {LogMelConfig.n_mels}, all mels, not {self.freq_mask}")
        if not 0 <= self.training_mask < 1:
            raise TrainingError(f"training_mask is a share from 0 to below 1, not {self.training_mask}")
        if self.dur_frames is not None and self.dur_frames < 2:
            raise TrainingError(f"dur_frames must be at least 2, not {self.dur_frames}")

    @property
    def of_patches(self) -> bool:
        """Whether it asks for what only a patch transformer has."""
        return bool(self.training_mask or self.dur_frames or self.freeze_patch_embed)


def classifier_on(encoder: PreTrainedModel, labels: Sequence[str], config: FineTuneConfig) -> PreTrainedModel:
    """A classifier of `labels` on the weights of an M2D, M2D-CLAP or ConvClap encoder.

    The head is new: normal with deviation 0.01, bias 0, drawn by torch's own generator. Patch-out needs M2D's flat
    features; without it they are stacked.
    """
    named = {"id2label": dict(enumerate(labels)), "label2id": {label: row for row, label in enumerate(labels)}}
    if isinstance(encoder, M2DClapModel):
        encoder = encoder.audio_model
    if isinstance(encoder, M2DModel):
        settings = encoder.config.to_diff_dict() | {"feature_layout": "flat" if config.training_mask else "stacked"}
        classifier = M2DForAudioClassification(type(encoder.config)(**settings | named))
        classifier.m2d.load_state_dict(encoder.state_dict())
        _prepare_m2d(classifier, config)
        return classifier
    if not isinstance(encoder, ConvClapModel):
        raise ModelFormatError(f"{type(encoder).__name__} cannot be fine-tuned as a whole; train a head on it instead")
    if config.of_patches:
        raise ModelFormatError("a convolutional model has no patches: leave out training_mask, dur_frames, freezing")
    settings = encoder.config.to_diff_dict() | {"text_config": None}
    small = ConvClapForAudioClassification(type(encoder.config)(**settings | named))
    audio = {key: value for key, value in encoder.state_dict().items() if not key.startswith("text_model.")}
    small.conv_clap.load_state_dict(audio)
    return small


def _prepare_m2d(classifier: M2DForAudioClassification, config: FineTuneConfig) -> None:
    nn.init.normal_(classifier.head.linear.weight, std=0.01)
    nn.init.zeros_(classifier.head.linear.bias)
    if config.dur_frames is not None:
        classifier.m2d.set_duration(config.dur_frames)
    classifier.m2d.patch_embed.requires_grad_(not config.freeze_patch_embed)


class FineTuning(nn.Module):
    """Objective for `mmret.training.fit`: from waveforms, or log-mels, with targets to the loss of a classifier.

    A batch holds `waveform` (batch, time) at the model's rate or `log_mel` (batch, 1, mels, frames), not normalised,
    and `target` (batch, classes). `loss` takes logits and targets.
    """

    def __init__(self, classifier: Any, config: FineTuneConfig, loss: Loss = mean_cross_entropy) -> None:
        super().__init__()
        self.classifier, self._config, self._loss = classifier, config, loss
        self.front_end = LogMelTorch(LogMelConfig.for_rate(classifier.config.sample_rate))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One group: biases decay as matrices do, as in the reference."""
        return [{"params": [parameter for parameter in self.parameters() if parameter.requires_grad]}]

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Loss of an augmented batch."""
        draws = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        heard, target = batch["log_mel" if "log_mel" in batch else "waveform"], batch["target"]
        if self._config.mixup_alpha:
            mix = draw_mixup(len(heard), self._config.mixup_alpha, draws)
            heard, target = mix(heard), mix(target)
        log_mel = self.augment(self.normalised(heard), draws)
        return {"loss": self._loss(self._logits(log_mel, draws).float(), target)}

    def normalised(self, heard: Tensor) -> Tensor:
        """Waveforms (batch, time), or log-mels (batch, 1, mels, frames) as they are -> normalised log-mels."""
        with torch.autocast(heard.device.type, enabled=False):  # the logarithm of nearly nothing needs every bit
            log_mel = self.front_end(heard)[:, None] if heard.ndim == 2 else heard
            normalised: Tensor = self.classifier.normalise(log_mel)
            return normalised

    def augment(self, log_mel: Tensor, draws: np.random.Generator) -> Tensor:
        """SpecAugment, then a random resize crop of each sample, of normalised log-mels (batch, 1, mels, frames)."""
        config = self._config
        if config.freq_mask or config.time_mask:
            log_mel = spec_augment(log_mel, config.freq_mask, config.time_mask, draws.random(4))
        if config.resize_crop:
            mels, frames = log_mel.shape[-2:]
            log_mel = torch.stack([resize_crop(one, draw_window(mels, frames, draws)) for one in log_mel])
        return log_mel

    def _logits(self, log_mel: Tensor, draws: np.random.Generator) -> Tensor:
        ratio = self._config.training_mask
        if not ratio:
            logits: Tensor = self.classifier(log_mel).logits
            return logits
        encoder = self.classifier.m2d
        columns = log_mel.shape[-1] // encoder.config.patch_size[1]
        marks = draw_marks(ratio, (len(log_mel), encoder.config.grid_size[0], columns), draws)
        kept = kept_tokens(marks, compat_keep_marked=self._config.compat_keep_marked).to(log_mel.device)
        logits = self.classifier(log_mel, kept_tokens=kept).logits
        return logits

    def predict(self, heard: Tensor) -> Tensor:
        """Logits (batch, classes) of waveforms (batch, time) or log-mels, without augmentation."""
        logits: Tensor = self.classifier(self.normalised(heard)).logits.float()
        return logits
