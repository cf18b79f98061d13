"""Any model that transformers loads: our own folders, converted M2D checkpoints, and CLAP models of the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import mmret.models  # noqa: F401  # registers our architectures with AutoModel
from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.audio.segments import WindowConfig
from mmret.encoder.config_limits import check_config_file, check_layers
from mmret.encoder.manifest import FILE_NAME, FP32, WEIGHTS, Manifest, read_manifest
from mmret.encoder.mistaken_folders import refuse_mistaken
from mmret.encoder.onednn_linear import use_onednn
from mmret.encoder.towers import NO_TEXT, SceneFeatures, Vectors, repeated, tokenizer_faults
from mmret.errors import MmretError, ModelFormatError
from mmret.models.m2d_features import M2DFeatures

FRAMES_PER_SECOND = 100
LONGEST_SCENE_S = 60.0  # a longer recording is the mean of pieces of this length, so that memory has a bound
DEFAULT_MAX_TOKENS = 512
_OURS = ("conv_clap", "m2d", "m2d_clap")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")


def load_towers(name: str, folder: Path | None) -> TorchTowers:
    """Towers of a model folder, or of a hub id when folder is None."""
    from transformers import AutoModel

    source = str(folder) if folder is not None else name
    model = open_network(name, folder, AutoModel, known=_KINDS)
    try:
        kind = _KINDS[model.config.model_type]
        return kind(name if folder is None else folder.absolute().name, source, model)
    except MmretError:
        raise
    except Exception as error:  # transformers and the packages below it raise many kinds, some of their own
        raise ModelFormatError(f"{name} cannot be loaded: {_first_line(error)}") from error


def open_network(name: str, folder: Path | None, auto: Any, *, known: Collection[str] = _OURS) -> Any:
    """A network of one of the `known` architectures in eval mode, on the GPU where there is one.

    `auto` is transformers' AutoModel or one of its relatives; `name` is a hub id when folder is None.
    """
    from transformers import AutoConfig

    source = str(folder) if folder is not None else name
    try:
        if folder is not None:
            refuse_mistaken(name, folder)
            check_config_file(folder)
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        check_layers(name, config.to_dict())
        if config.model_type not in known:
            raise ModelFormatError(
                f"{name} is a {config.model_type} model; mmret encodes with {', '.join(sorted(known))}"
            )
        model, report = auto.from_pretrained(
            source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
        _check_complete(name, model, report["missing_keys"])
        use_onednn(model)
        return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    except MmretError:
        raise
    except Exception as error:  # transformers and the packages below it raise many kinds, some of their own
        raise ModelFormatError(f"{name} cannot be loaded: {_first_line(error)}") from error


def _check_complete(name: str, model: Any, missing: Sequence[str]) -> None:
    """Refuse a folder without some of its weights: transformers would go on with random ones."""
    lost = sorted(key for key, _ in model.named_parameters() if key in set(missing))
    if lost:
        raise ModelFormatError(f"{name} lacks {len(lost)} of its weights, the first is {lost[0]}; fetch it again")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class TorchTowers:
    """What all kinds share: a model, a tokenizer where there is one, and vectors out as numpy."""

    runtime = "torch"
    precision = FP32
    scenes: SceneFeatures | None = None

    def __init__(self, name: str, source: str, model: Any) -> None:
        self.name = name
        self._source = source
        self.model = model
        self.sample_rate, self.dim, self.windows = self._describe()
        self._manifest = _verified_manifest(Path(source))
        self.fingerprint = self._manifest.fingerprint if self._manifest else self._fingerprint_of_weights()

    def _describe(self) -> tuple[int, int, WindowConfig]:
        """Sampling rate, dimension and windows of the model."""
        raise NotImplementedError

    def _embed(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        """Vectors (n, dim) of waveforms of one length, of any length of their own."""
        raise NotImplementedError

    def open_audio(self) -> None:
        """Do nothing: weights are checked and loaded as a whole."""

    @torch.inference_mode()
    def audio(self, waveforms: Sequence[NDArray[np.float32]]) -> Vectors:
        """Vectors (n, dim) of waveforms (time,) of one length."""
        return _unit_rows(self._embed(waveforms))

    @torch.inference_mode()
    def text(self, sentences: Sequence[str]) -> Vectors:
        """Vectors (n, dim) of sentences."""
        if getattr(self.model, "text_model", None) is None:
            raise ModelFormatError(f"{self.name} {NO_TEXT}")
        with tokenizer_faults(self.name):
            tokens = self.tokenizer(
                list(sentences), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            )
        largest, known = int(tokens["input_ids"].max()), self.model.text_model.config.vocab_size
        if largest >= known:
            raise ModelFormatError(f"{self.name}: its tokenizer gives token {largest}, its text tower knows {known}")
        inputs = {name: tokens[name].to(self.model.device) for name in ("input_ids", "attention_mask")}
        return _unit_rows(self.model.get_text_features(**inputs).pooler_output)

    def knows(self, sentence: str) -> bool:
        """Whether a part of a sentence is in the vocabulary."""
        with tokenizer_faults(self.name):
            return any(token != self.tokenizer.unk_token for token in self.tokenizer.tokenize(sentence))

    @cached_property
    def tokenizer(self) -> Any:
        """Tokenizer of the folder; where it has none, the one that the configuration names."""
        from transformers import AutoTokenizer

        named = getattr(self.model.config, "text_tokenizer", None)
        own = any((Path(self._source) / file).is_file() for file in _TOKENIZER_FILES)
        try:
            return AutoTokenizer.from_pretrained(named if named and not own else self._source, trust_remote_code=False)
        except Exception as error:  # transformers and tokenizers raise many kinds, some of their own
            raise ModelFormatError(
                f"{self.name} has no tokenizer for text: {_first_line(error)}. Put its tokenizer.json into the folder"
            ) from error

    @property
    def max_tokens(self) -> int:
        """Tokens after which a text is cut."""
        if self._manifest is not None:
            return self._manifest.max_tokens
        return min(self.tokenizer.model_max_length, self._positions(), DEFAULT_MAX_TOKENS)

    def _positions(self) -> int:
        """Longest text of the text tower, in tokens."""
        return int(self.model.text_model.config.max_position_embeddings)

    def _fingerprint_of_weights(self) -> str:
        digest = hashlib.sha256(f"{self.sample_rate} {self.dim} {self.windows}".encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


class LogMelTowers(TorchTowers):
    """Models of ours that hear the log-mel of mmret.audio."""

    def __init__(self, name: str, source: str, model: Any) -> None:
        super().__init__(name, source, model)
        self._front_end = LogMel(LogMelConfig.for_rate(self.sample_rate))

    def log_mel(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        """Log-mel (n, 1, mels, frames) of waveforms (time,) of one length."""
        log_mel = np.stack([self._front_end(waveform) for waveform in waveforms])
        return torch.from_numpy(log_mel)[:, None].to(self.model.device)

    def _m2d_scenes(self, encoder: Any) -> SceneFeatures:
        """M2D's stacked features, whose mean over time is its scene embedding."""
        features = M2DFeatures(encoder, "stacked")

        @torch.inference_mode()
        def columns(waveform: NDArray[np.float32]) -> Vectors:
            vectors: Vectors = features.features(encoder.normalise(self.log_mel([waveform])))[0].float().cpu().numpy()
            return vectors

        dim = encoder.config.embed_dim * encoder.config.grid_size[0]
        return SceneFeatures(dim, WindowConfig(LONGEST_SCENE_S, LONGEST_SCENE_S), columns)


class _ConvClapTowers(LogMelTowers):
    def _describe(self) -> tuple[int, int, WindowConfig]:
        config = self.model.config
        return config.sample_rate, config.projection_dim, WindowConfig(config.window_s, config.hop_s)

    def log_mel(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        """Log-mel (n, 1, mels, frames) of waveforms (time,) of one length, repeated where they are too short."""
        return super().log_mel([repeated(waveform, self.model.config.min_samples) for waveform in waveforms])

    def _embed(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        vectors: Tensor = self.model.get_audio_features(self.log_mel(waveforms)).pooler_output
        return vectors


class _M2DClapTowers(LogMelTowers):
    def __init__(self, name: str, source: str, model: Any) -> None:
        super().__init__(name, source, model)
        self.scenes = self._m2d_scenes(model.audio_model)

    def _describe(self) -> tuple[int, int, WindowConfig]:
        config = self.model.config
        return config.sample_rate, config.projection_dim, _m2d_windows(config.audio_config.input_size[1])

    def _embed(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        vectors: Tensor = self.model.get_audio_features(self.log_mel(waveforms)).pooler_output
        return vectors


class _M2DTowers(LogMelTowers):
    """An encoder without text: search by sound alone, with scene embeddings (mean over time)."""

    def __init__(self, name: str, source: str, model: Any) -> None:
        super().__init__(name, source, model)
        self.scenes = self._m2d_scenes(model)

    def _describe(self) -> tuple[int, int, WindowConfig]:
        config = self.model.config
        return config.sample_rate, config.feature_dim, _m2d_windows(config.input_size[1])

    def _embed(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        normalised = self.model.normalise(self.log_mel(waveforms))
        return M2DFeatures(self.model).features(normalised).mean(dim=1)


def _m2d_windows(frames: int) -> WindowConfig:
    """Half-overlapping windows that fill the model's input exactly: n samples give n / hop + 1 frames."""
    window_s = (frames - 1) / FRAMES_PER_SECOND
    return WindowConfig(window_s, window_s / 2)


class _ClapTowers(TorchTowers):
    """transformers' ClapModel. Windows never exceed what it hears at once, so nothing is cut at random."""

    def _describe(self) -> tuple[int, int, WindowConfig]:
        from transformers import AutoFeatureExtractor

        self._extractor = AutoFeatureExtractor.from_pretrained(self._source, trust_remote_code=False)
        window_s = self._extractor.nb_max_samples / self._extractor.sampling_rate
        dim = self.model.config.projection_dim
        return self._extractor.sampling_rate, dim, WindowConfig(window_s, window_s / 2)

    def _embed(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        inputs = self._extractor(list(waveforms), sampling_rate=self.sample_rate, return_tensors="pt")
        features = inputs["input_features"].to(self.model.device)
        # The extractor of fused models marks a random clip of a batch as longer than ten seconds; none of ours is.
        is_longer = torch.zeros_like(torch.as_tensor(inputs["is_longer"]), device=self.model.device)
        vectors: Tensor = self.model.get_audio_features(features, is_longer=is_longer).pooler_output
        return vectors

    def _positions(self) -> int:
        # RoBERTa counts positions from the one after its padding token's number.
        config = self.model.text_model.config
        return int(config.max_position_embeddings) - config.pad_token_id - 1


def _verified_manifest(folder: Path) -> Manifest | None:
    """Manifest of an exported folder, whose weights are the ones it lists; None for any other model."""
    if not (folder / FILE_NAME).is_file():
        return None
    manifest = read_manifest(folder)
    manifest.verified(folder, WEIGHTS)
    return manifest


def _unit_rows(vectors: Tensor) -> Vectors:
    rows = vectors.float()
    unit: Vectors = (rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)).cpu().numpy()
    return unit


_KINDS: dict[str, Callable[[str, str, Any], TorchTowers]] = {
    "conv_clap": _ConvClapTowers,
    "m2d_clap": _M2DClapTowers,
    "m2d": _M2DTowers,
    "clap": _ClapTowers,
}
