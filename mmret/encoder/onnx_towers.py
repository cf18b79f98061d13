"""The light runtime: exported graphs on ONNX Runtime, no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mmret.audio.logmel import LogMel
from mmret.encoder.manifest import Manifest, read_manifest
from mmret.encoder.towers import Vectors, repeated
from mmret.errors import ModelFormatError

AUDIO_GRAPH = "audio.onnx"  # beside the weights: ONNX Runtime refuses references that leave a graph's folder
TEXT_GRAPH = "text.onnx"
TOKENIZER = "tokenizer.json"
WEIGHTS = "model.safetensors"
MAX_THREADS = 4


class OnnxTowers:
    """Towers of an exported folder; each graph is opened when it is first needed."""

    runtime = "onnx"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.manifest: Manifest = read_manifest(folder)
        self.name = self.manifest.name
        self.dim = self.manifest.dim
        self.sample_rate = self.manifest.sample_rate
        self.windows = self.manifest.windows
        self.fingerprint = self.manifest.fingerprint

    def audio(self, waveforms: Sequence[NDArray[np.float32]]) -> Vectors:
        """Vectors (n, dim) of waveforms (time,) of one length."""
        log_mel = np.stack([self._front_end(repeated(wave, self.manifest.min_samples)) for wave in waveforms])
        vectors: Vectors = self._audio_session.run(None, {"log_mel": log_mel[:, None]})[0]
        return vectors

    def text(self, sentences: Sequence[str]) -> Vectors:
        """Vectors (n, dim) of sentences, padded to the longest of them."""
        encoded = self._tokenizer.encode_batch(list(sentences))
        tokens = {
            "input_ids": np.array([sentence.ids for sentence in encoded], np.int64),
            "attention_mask": np.array([sentence.attention_mask for sentence in encoded], np.int64),
        }
        vectors: Vectors = self._text_session.run(None, tokens)[0]
        return vectors

    @cached_property
    def _front_end(self) -> LogMel:
        return LogMel(self.manifest.log_mel)

    @cached_property
    def _audio_session(self) -> Any:
        return self._session(AUDIO_GRAPH)

    @cached_property
    def _text_session(self) -> Any:
        return self._session(TEXT_GRAPH)

    @cached_property
    def _tokenizer(self) -> Any:
        if TOKENIZER not in self.manifest.files:
            raise ModelFormatError(f"{self.name} reads no text: it has an audio tower only")
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.manifest.verified(self._folder, TOKENIZER)))
        tokenizer.enable_truncation(self.manifest.max_tokens)
        tokenizer.enable_padding(pad_id=(tokenizer.padding or {}).get("pad_id", 0))
        return tokenizer

    def _session(self, name: str) -> Any:
        path = self.manifest.verified(self._folder, name)
        if WEIGHTS in self.manifest.files:  # graphs read their numbers from the one weight file
            self.manifest.verified(self._folder, WEIGHTS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(os.cpu_count() or 1, MAX_THREADS)
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own untyped errors
            raise ModelFormatError(f"{path} cannot be opened by onnxruntime: {error}") from None
