"""The light runtime: exported graphs on ONNX Runtime, no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmret._telemetry import onnxruntime
from mmret.audio.logmel import LogMel
from mmret.encoder.manifest import (
    AUDIO_GRAPH,
    FILE_NAME,
    FP32,
    INT8_DYNAMIC,
    TEXT_GRAPH,
    TEXT_WEIGHTS,
    TOKENIZER,
    WEIGHTS,
    Manifest,
    read_manifest,
)
from mmret.encoder.processor import adds_int8_exactly
from mmret.encoder.towers import NO_TEXT, SceneFeatures, Vectors, repeated, tokenizer_faults
from mmret.errors import ModelFormatError

MAX_THREADS = 4


def audio_threads() -> int:
    """Threads that share the work of the audio tower."""
    return min(len(os.sched_getaffinity(0)), MAX_THREADS)


class OnnxTowers:
    """Towers of an exported folder; each graph is opened when it is first needed.

    With `one_sentence` the text graph runs as it is stored: opening takes a sixth of the time, each sentence seven
    times as long.
    """

    runtime = "onnx"
    scenes: SceneFeatures | None = None  # a graph gives unit vectors alone

    def __init__(self, folder: Path, *, one_sentence: bool = False) -> None:
        self._folder = folder
        self._one_sentence = one_sentence
        self.manifest: Manifest = read_manifest(folder)
        self.name = self.manifest.name
        self.precision = self.manifest.precision
        self.dim = self.manifest.dim
        self.sample_rate = self.manifest.sample_rate
        self.windows = self.manifest.windows
        self.fingerprint = self.manifest.fingerprint

    def open_audio(self) -> None:
        """Check and open the audio graph, and those weights alone that it refers to."""
        self._audio_session  # noqa: B018  # opened when it is first asked for

    def audio(self, waveforms: Sequence[NDArray[np.float32]]) -> Vectors:
        """Vectors (n, dim) of waveforms (time,) of one length."""
        log_mel = np.stack([self._front_end(repeated(wave, self.manifest.min_samples)) for wave in waveforms])
        # Activations that are scaled as they come share one scale: alone, no vector depends on its neighbours.
        batches = log_mel[:, None, None] if self.precision == INT8_DYNAMIC else log_mel[None, :, None]
        return np.concatenate([self._audio_vectors(batch) for batch in batches])

    def text(self, sentences: Sequence[str]) -> Vectors:
        """Vectors (n, dim) of sentences, padded to the longest of them."""
        with tokenizer_faults(self._folder / TOKENIZER):
            encoded = self._tokenizer.encode_batch(list(sentences))
        tokens = {
            "input_ids": np.array([sentence.ids for sentence in encoded], np.int64),
            "attention_mask": np.array([sentence.attention_mask for sentence in encoded], np.int64),
        }
        return self._run(self._text_session, tokens)

    def knows(self, sentence: str) -> bool:
        """Whether a part of a sentence is in the vocabulary."""
        with tokenizer_faults(self._folder / TOKENIZER):
            tokens = self._tokenizer.encode(sentence, add_special_tokens=False).tokens
            unknown = getattr(self._tokenizer.model, "unk_token", None)  # not every kind of tokenizer has one
        return any(token != unknown for token in tokens)

    def _audio_vectors(self, log_mel: NDArray[np.float32]) -> Vectors:
        """Vectors (n, dim) of log-mels (n, 1, mels, frames)."""
        return self._run(self._audio_session, {"log_mel": log_mel})

    def _run(self, session: Any, inputs: dict[str, NDArray[Any]]) -> Vectors:
        try:
            vectors: Vectors = session.run(None, inputs)[0]
        except Exception as error:  # onnxruntime raises its own untyped errors
            raise ModelFormatError(f"the graphs of {self._folder} do not fit {FILE_NAME}: {error}") from None
        return vectors

    @cached_property
    def _front_end(self) -> LogMel:
        return LogMel(self.manifest.log_mel)

    @cached_property
    def _audio_session(self) -> Any:
        if self.precision != FP32 and not adds_int8_exactly():
            raise ModelFormatError(
                f"{self._folder} holds an int8 audio tower, and this processor has no VNNI: its int8 sums would "
                "saturate and give other vectors. Export the model with --precision fp32 to encode recordings here"
            )
        return self._session(AUDIO_GRAPH, threads=audio_threads())

    @cached_property
    def _text_session(self) -> Any:
        # one sentence at a time is too little work to share
        return self._session(TEXT_GRAPH, threads=1, optimised=not self._one_sentence)

    @cached_property
    def _tokenizer(self) -> Any:
        if TOKENIZER not in self.manifest.files:
            raise ModelFormatError(f"{self.name} {NO_TEXT}")
        from tokenizers import Tokenizer

        path = self.manifest.verified(self._folder, TOKENIZER)
        with tokenizer_faults(path):
            tokenizer = Tokenizer.from_file(str(path))
            tokenizer.enable_truncation(self.manifest.max_tokens)
            tokenizer.enable_padding(pad_id=(tokenizer.padding or {}).get("pad_id", 0))
        return tokenizer

    def _verified(self, graph: str) -> Path:
        """Path of a graph that is the listed one, as are the weights it may refer to."""
        for weights in (WEIGHTS, TEXT_WEIGHTS) if graph == TEXT_GRAPH else (WEIGHTS,):
            if weights in self.manifest.files:
                self.manifest.verified(self._folder, weights)
        return self.manifest.verified(self._folder, graph)

    def _session(self, name: str, *, threads: int, optimised: bool = True) -> Any:
        path = self._verified(name)
        runtime = onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that spin while they wait would take the cores from whoever decodes meanwhile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        if not optimised:
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own untyped errors
            raise ModelFormatError(f"{path} cannot be opened by onnxruntime: {error}") from None
