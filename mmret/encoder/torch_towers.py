"""Any model that transformers loads: our own folders, converted M2D checkpoints, and CLAP models of the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import mmret.models  # noqa: F401  # registers our architectures with AutoModel
from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.audio.segments import WindowConfig
from mmret.encoder.manifest import FILE_NAME, read_manifest
from mmret.encoder.towers import Towers, Vectors, repeated
from mmret.errors import ModelFormatError

FRAMES_PER_SECOND = 100
DEFAULT_MAX_TOKENS = 512


def load_towers(name: str, folder: Path | None) -> Towers:
    """Towers of a model folder, or of a hub id when folder is None."""
    from transformers import AutoConfig, AutoModel

    source = str(folder) if folder is not None else name
    try:
        config = AutoConfig.from_pretrained(source)
        kind = _KINDS.get(config.model_type)
        if kind is None:
            known = ", ".join(sorted(_KINDS))
            raise ModelFormatError(f"{name} is a {config.model_type} model; mmret encodes with {known}")
        model = AutoModel.from_pretrained(source, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise ModelFormatError(f"{name} cannot be loaded: {first_line}") from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return kind(name if folder is None else folder.name, source, model.eval().to(device))


class _TorchTowers:
    """What all kinds share: a model, a tokenizer where there is one, and vectors out as numpy."""

    runtime = "torch"

    def __init__(self, name: str, source: str, model: Any) -> None:
        self.name = name
        self._source = source
        self._model = model
        self._tokenizer: Any = None
        self.sample_rate, self.dim, self.windows = self._describe()
        manifest = Path(source) / FILE_NAME
        self.fingerprint = (
            read_manifest(manifest.parent).fingerprint if manifest.is_file() else self._fingerprint_of_weights()
        )

    def _describe(self) -> tuple[int, int, WindowConfig]:
        """Sampling rate, dimension and windows of the model."""
        raise NotImplementedError

    def _embed(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        """Vectors (n, dim) of waveforms of one length, of any length of their own."""
        raise NotImplementedError

    @torch.inference_mode()
    def audio(self, waveforms: Sequence[NDArray[np.float32]]) -> Vectors:
        """Vectors (n, dim) of waveforms (time,) of one length."""
        return _unit_rows(self._embed(waveforms))

    @torch.inference_mode()
    def text(self, sentences: Sequence[str]) -> Vectors:
        """Vectors (n, dim) of sentences."""
        tokens = self._tokenise(list(sentences))
        inputs = {name: tensor.to(self._model.device) for name, tensor in tokens.items()}
        return _unit_rows(self._model.get_text_features(**inputs).pooler_output)

    def _tokenise(self, sentences: list[str]) -> dict[str, Tensor]:
        from transformers import AutoTokenizer

        if self._tokenizer is None:
            source = getattr(self._model.config, "text_tokenizer", None) or self._source
            try:
                self._tokenizer = AutoTokenizer.from_pretrained(source)
            except (OSError, ValueError) as error:
                first_line = str(error).strip().splitlines()[0]
                raise ModelFormatError(f"{self.name} has no tokenizer for text: {first_line}") from None
        longest = min(self._tokenizer.model_max_length, DEFAULT_MAX_TOKENS)
        tokens = self._tokenizer(sentences, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}

    def _fingerprint_of_weights(self) -> str:
        digest = hashlib.sha256(f"{self.sample_rate} {self.dim} {self.windows}".encode())
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


class _LogMelTowers(_TorchTowers):
    """Models of ours that hear the log-mel of mmret.audio."""

    def _log_mel(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        front_end = LogMel(LogMelConfig.for_rate(self.sample_rate))
        log_mel = np.stack([front_end(waveform) for waveform in waveforms])
        return torch.from_numpy(log_mel)[:, None].to(self._model.device)


class _ConvClapTowers(_LogMelTowers):
    def _describe(self) -> tuple[int, int, WindowConfig]:
        config = self._model.config
        return config.sample_rate, config.projection_dim, WindowConfig(config.window_s, config.hop_s)

    def _embed(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        long_enough = [repeated(waveform, self._model.config.min_samples) for waveform in waveforms]
        vectors: Tensor = self._model.get_audio_features(self._log_mel(long_enough)).pooler_output
        return vectors


class _M2DClapTowers(_LogMelTowers):
    def _describe(self) -> tuple[int, int, WindowConfig]:
        config = self._model.config
        window_s = config.audio_config.input_size[1] / FRAMES_PER_SECOND
        return config.sample_rate, config.projection_dim, WindowConfig(window_s, window_s / 2)

    def _embed(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        vectors: Tensor = self._model.get_audio_features(self._log_mel(waveforms)).pooler_output
        return vectors


class _M2DTowers(_LogMelTowers):
    """An encoder without text: search by sound alone, with scene embeddings (mean over time)."""

    def _describe(self) -> tuple[int, int, WindowConfig]:
        config = self._model.config
        window_s = config.input_size[1] / FRAMES_PER_SECOND
        rows = config.grid_size[0] if config.feature_layout == "stacked" else 1
        return config.sample_rate, config.embed_dim * rows, WindowConfig(window_s, window_s / 2)

    def _embed(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        from mmret.models.m2d_features import M2DFeatures

        normalised = self._model.normalise(self._log_mel(waveforms))
        return M2DFeatures(self._model).features(normalised).mean(dim=1)

    def text(self, sentences: Sequence[str]) -> Vectors:
        """Refuse: there is no text tower."""
        raise ModelFormatError(f"{self.name} reads no text: it has an audio tower only. Search with --audio FILE")


class _ClapTowers(_TorchTowers):
    """transformers' ClapModel. Windows never exceed what it hears at once, so nothing is cut at random."""

    def _describe(self) -> tuple[int, int, WindowConfig]:
        from transformers import AutoFeatureExtractor

        self._extractor = AutoFeatureExtractor.from_pretrained(self._source)
        window_s = self._extractor.nb_max_samples / self._extractor.sampling_rate
        dim = self._model.config.projection_dim
        return self._extractor.sampling_rate, dim, WindowConfig(window_s, window_s / 2)

    def _embed(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        inputs = self._extractor(list(waveforms), sampling_rate=self.sample_rate, return_tensors="pt")
        features = inputs["input_features"].to(self._model.device)
        # The extractor of fused models marks a random clip of a batch as longer than ten seconds; none of ours is.
        is_longer = torch.zeros_like(torch.as_tensor(inputs["is_longer"]), device=self._model.device)
        vectors: Tensor = self._model.get_audio_features(features, is_longer=is_longer).pooler_output
        return vectors


def _unit_rows(vectors: Tensor) -> Vectors:
    rows = vectors.float()
    unit: Vectors = (rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)).cpu().numpy()
    return unit


_KINDS: dict[str, Callable[[str, str, Any], Towers]] = {
    "conv_clap": _ConvClapTowers,
    "m2d_clap": _M2DClapTowers,
    "m2d": _M2DTowers,
    "clap": _ClapTowers,
}
