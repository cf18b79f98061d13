"""The front end as a torch module: batched, differentiable, on any device."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmret.audio.logmel import LogMelConfig, mel_filterbank


class LogMelTorch(nn.Module):
    """Same numbers as LogMel, for training on a GPU and wherever gradients are wanted."""

    window: Tensor
    mel: Tensor

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(config.win_length, periodic=True), persistent=False)
        self.register_buffer("mel", torch.from_numpy(mel_filterbank(config)), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform (batch, time) -> natural-log mel power (batch, mels, frames)."""
        config = self.config
        short = config.n_fft // 2 + 1 - waveform.shape[-1]
        if short > 0:
            waveform = functional.pad(waveform, (0, short))
        spectrum = torch.stft(
            waveform,
            config.n_fft,
            config.hop_length,
            config.win_length,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return (self.mel @ power + config.log_eps).log()
