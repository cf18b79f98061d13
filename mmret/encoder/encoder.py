"""Encoder: the public way from sounds and sentences to unit vectors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.audio.decode import decode_blocks
from mmret.audio.segments import Segment, iter_segments
from mmret.encoder.manifest import FILE_NAME, FP32, read_manifest
from mmret.encoder.towers import SceneFeatures, Towers, Vectors
from mmret.errors import AudioError, MissingExtra, ModelFormatError

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"
RUNTIMES = ("auto", "onnx", "openvino", "torch")
# Small batches: the activations of a few windows stay in the processor's cache.
BATCH = 8
UNIT_TOLERANCE = 1e-3
EMPTY = "empty: no samples"
_SMALLEST_NORM = 1e-12

Recording = str | os.PathLike[str] | NDArray[np.float32]


@dataclass(frozen=True)
class EncodedWindow:
    """A moment of a recording, in seconds, and its vector (dim,)."""

    start_s: float
    stop_s: float
    vector: Vectors


class Encoder:
    """Turn recordings and sentences into vectors that can be compared by their inner product.

    The same samples give the same vector from call to call, and within 1e-5 whatever batch they travel in.

    >>> encoder = Encoder.from_pretrained("mmret-mini")
    >>> encoder.encode_text(["a dog barks", "rain"]).shape
    (2, 384)
    """

    def __init__(self, towers: Towers) -> None:
        self._towers = towers
        self.name = towers.name
        self.runtime = towers.runtime
        self.precision = towers.precision
        self.dim = towers.dim
        self.sample_rate = towers.sample_rate
        self.windows = towers.windows
        self.fingerprint = towers.fingerprint

    def __repr__(self) -> str:
        """Name, what runs it, and numbers."""
        runs = f"runtime={self.runtime!r}, precision={self.precision!r}"
        return f"Encoder({self.name!r}, {runs}, dim={self.dim}, sample_rate={self.sample_rate})"

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike[str] = "mmret-mini", *, runtime: str = "auto", one_sentence: bool = False
    ) -> Encoder:
        """Open a shipped model by name, a model folder, or a transformers CLAP by hub id.

        runtime "auto" takes ONNX Runtime where the folder was exported for it and torch elsewhere; in a program that
        uses torch on a GPU already it takes torch. "openvino" runs the audio tower of exported fp32 folders.
        With `one_sentence` an exported text tower is not made fast before it is used: for a program that encodes one
        sentence and ends.
        """
        if runtime not in RUNTIMES:
            raise ModelFormatError(f"runtime {runtime!r} is not one of {', '.join(RUNTIMES)}")
        folder = model_folder(name_or_path)
        if folder is not None and (folder / FILE_NAME).is_file():
            return cls(_exported_towers(name_or_path, folder, runtime, one_sentence=one_sentence))
        if runtime not in ("auto", "torch"):
            raise ModelFormatError(
                f"{name_or_path} was not exported for {runtime}; run: mmret export {name_or_path} OUT"
            )
        return cls(_torch_towers(name_or_path, folder, exported=False))

    def open_audio(self) -> None:
        """Load the audio tower now and not with the first recording; ModelFormatError where its files are damaged."""
        self._towers.open_audio()

    def encode_text(self, sentences: Sequence[str]) -> Vectors:
        """Sentences -> unit vectors (sentences, dim)."""
        if isinstance(sentences, str):
            raise TypeError("encode_text takes a list of sentences, not one string")
        # One by one: padding to a longer neighbour would move the last bits.
        parts = [self._checked(self._towers.text([one]), [f"sentence {one!r}"]) for one in sentences]
        return self._joined(parts)

    def knows(self, sentence: str) -> bool:
        """Whether the model knows a part of a sentence; to it, sentences without one differ in length alone."""
        return self._towers.knows(sentence)

    def encode_audio(self, recordings: Sequence[Recording]) -> Vectors:
        """Files, or waveforms (time,) at self.sample_rate -> one unit vector each, (recordings, dim).

        A recording longer than a window is the mean of its windows' vectors. It is read block by block, so its length
        does not matter. AudioError names a file that cannot be read, ModelFormatError one that the model fails on.
        """
        names = _names(recordings)
        vectors = [self._mean_over_windows(one, name) for one, name in zip(recordings, names, strict=True)]
        return self._joined(vectors)

    @property
    def scene_dim(self) -> int:
        """Numbers in a vector of `encode_scenes`."""
        return self.dim if self._towers.scenes is None else self._towers.scenes.dim

    @property
    def has_scenes(self) -> bool:
        """Whether `encode_scenes` gives other vectors than `encode_audio`."""
        return self._towers.scenes is not None

    def encode_scenes(self, recordings: Sequence[Recording]) -> Vectors:
        """Files, or waveforms (time,) at self.sample_rate -> vectors to learn from, (recordings, scene_dim).

        Of M2D and M2D-CLAP on torch they are the published scene embeddings, stacked features averaged over time and
        of any length, where recordings beyond a minute are the mean of their minutes; of all other models those of
        `encode_audio`. Errors are the same.
        """
        scenes = self._towers.scenes
        if scenes is None:
            return self.encode_audio(recordings)
        vectors = [self._scene(one, name, scenes) for one, name in zip(recordings, _names(recordings), strict=True)]
        return np.stack(vectors) if vectors else np.empty((0, scenes.dim), np.float32)

    def encode_timestamps(self, recording: Recording) -> Iterator[EncodedWindow]:
        """Yield the moments of one recording with their vectors (scene_dim,), in order; errors as in `encode_audio`.

        Of models with features of their own (see `encode_scenes`) they are time columns, clip length over number of
        columns each; of all others the windows, with unit vectors.
        """
        (name,) = _names([recording])
        if self._towers.scenes is not None:
            yield from self._columns(recording, name, self._towers.scenes)
            return
        found = False
        for segments, vectors in self._batches(recording, name):
            found = True
            for segment, vector in zip(segments, vectors, strict=True):
                yield EncodedWindow(segment.start_s, segment.stop_s, vector)
        if not found:
            raise AudioError(name, EMPTY)

    def encode_waveforms(self, waveforms: Sequence[NDArray[np.float32]]) -> Vectors:
        """Waveforms (time,) at self.sample_rate, each no longer than a window -> unit vectors (n, dim), in order."""
        return self._encode(waveforms, [_waveform(row) for row in range(len(waveforms))])

    def _encode(self, waveforms: Sequence[NDArray[np.float32]], names: Sequence[str]) -> Vectors:
        longest = max(1, round(self.windows.window_s * self.sample_rate))
        for waveform, name in zip(waveforms, names, strict=True):
            _check_waveform(waveform, name)
            if len(waveform) > longest:
                raise ValueError(
                    f"{name} has {len(waveform)} samples, a window {longest}; encode_audio takes any length"
                )
        vectors = np.empty((len(waveforms), self.dim), np.float32)
        for rows in batches_of_equal_length(waveforms):
            batch = [np.ascontiguousarray(waveforms[row], np.float32) for row in rows]
            vectors[rows] = self._checked(self._towers.audio(batch), [names[row] for row in rows])
        return vectors

    def _mean_over_windows(self, recording: Recording, name: str) -> Vectors:
        """Unit vector (1, dim) of a recording of any length."""
        total, windows = np.zeros((1, self.dim)), 0
        for batch, vectors in self._batches(recording, name):
            total += vectors.sum(axis=0, dtype=np.float64)
            windows += len(batch)
        if not windows:
            raise AudioError(name, EMPTY)
        # Windows whose vectors cancel out leave nothing that points anywhere: the check refuses the zero vector.
        mean: Vectors = (total / max(float(np.linalg.norm(total)), _SMALLEST_NORM)).astype(np.float32)
        return self._checked(mean, [name])

    def _batches(self, recording: Recording, name: str) -> Iterator[tuple[list[Segment], Vectors]]:
        """Windows of a recording, a few at a time, with their vectors."""
        segments = iter_segments(self._blocks(recording, name), self.sample_rate, self.windows)
        while batch := list(islice(segments, BATCH)):
            names = [f"{name} at {segment.start_s:.2f}-{segment.stop_s:.2f} s" for segment in batch]
            yield batch, self._encode([segment.waveform for segment in batch], names)

    def _scene(self, recording: Recording, name: str, scenes: SceneFeatures) -> Vectors:
        """Scene vector (dim,) of a recording of any length."""
        total, pieces = np.zeros(scenes.dim), 0
        for _, columns in self._pieces(recording, name, scenes):
            total += columns.mean(axis=0)
            pieces += 1
        return (total / pieces).astype(np.float32)

    def _columns(self, recording: Recording, name: str, scenes: SceneFeatures) -> Iterator[EncodedWindow]:
        reached_s = 0.0
        for segment, columns in self._pieces(recording, name, scenes):
            edges = np.linspace(segment.start_s, segment.stop_s, len(columns) + 1)
            for start_s, stop_s, vector in zip(edges, edges[1:], columns, strict=False):
                if stop_s > reached_s:  # the last piece of a long recording reaches back into the one before
                    yield EncodedWindow(float(start_s), float(stop_s), vector)
            reached_s = segment.stop_s

    def _pieces(self, recording: Recording, name: str, scenes: SceneFeatures) -> Iterator[tuple[Segment, Vectors]]:
        """Pieces of a recording with the features (steps, dim) of each."""
        found = False
        for segment in iter_segments(self._blocks(recording, name), self.sample_rate, scenes.windows):
            found = True
            columns = scenes.columns(segment.waveform)
            if not np.isfinite(columns).all():
                raise ModelFormatError(f"{self.name} gave a vector that is not finite for {name}")
            yield segment, columns
        if not found:
            raise AudioError(name, EMPTY)

    def _blocks(self, recording: Recording, name: str) -> Iterable[NDArray[np.float32]]:
        if not isinstance(recording, np.ndarray):
            return decode_blocks(recording, self.sample_rate)
        _check_waveform(recording, name)
        return [recording.astype(np.float32, copy=False)]

    def _checked(self, vectors: Vectors, items: Sequence[str]) -> Vectors:
        """Pass on one unit vector an item; ModelFormatError names the first item whose vector is none."""
        if vectors.shape != (len(items), self.dim):
            raise ModelFormatError(
                f"{self.name} gave vectors of shape {vectors.shape} for {items[0]}, not {(len(items), self.dim)}"
            )
        norms = np.linalg.norm(vectors, axis=1)
        bad = np.flatnonzero(~(np.abs(norms - 1) <= UNIT_TOLERANCE))  # true for NaN, too
        if len(bad):
            fault = "of length " + format(norms[bad[0]], ".3g") if np.isfinite(norms[bad[0]]) else "that is not finite"
            raise ModelFormatError(f"{self.name} gave a vector {fault} instead of a unit vector for {items[bad[0]]}")
        return vectors

    def _joined(self, parts: Sequence[Vectors]) -> Vectors:
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)


def shipped_models() -> list[str]:
    """Names of the models inside the package."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{FILE_NAME}"))


def model_folder(name_or_path: str | os.PathLike[str]) -> Path | None:
    """Folder of a shipped name or of a path; None for what can only be a hub id."""
    name = os.fspath(name_or_path)
    if (PRETRAINED / name / FILE_NAME).is_file() and "/" not in name:
        return PRETRAINED / name
    path = Path(name)
    if name and path.is_dir():
        return path
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        shipped = ", ".join(shipped_models()) or "none is installed"
        raise ModelFormatError(
            f"no model called {name!r}: it is no folder and none of the shipped models ({shipped}). "
            "Give a model folder or a hub id such as laion/clap-htsat-unfused"
        )
    return None


def _exported_towers(name_or_path: str | os.PathLike[str], folder: Path, runtime: str, *, one_sentence: bool) -> Towers:
    precision = read_manifest(folder).precision
    if precision != FP32 and runtime not in ("auto", "onnx"):
        raise ModelFormatError(
            f"{name_or_path} holds an {precision} audio tower, which gives these vectors on onnxruntime alone. "
            f"Leave the runtime out, or export the model with --precision fp32 for {runtime}"
        )
    if runtime == "torch" or (runtime == "auto" and precision == FP32 and _gpu_in_use()):
        return _torch_towers(name_or_path, folder, exported=True)
    if runtime == "openvino":
        from mmret.encoder.openvino_towers import OpenVinoTowers

        return OpenVinoTowers(folder, one_sentence=one_sentence)
    from mmret.encoder.onnx_towers import OnnxTowers

    return OnnxTowers(folder, one_sentence=one_sentence)


def _torch_towers(name_or_path: str | os.PathLike[str], folder: Path | None, *, exported: bool) -> Towers:
    if find_spec("torch") is None or find_spec("transformers") is None:
        if exported:
            raise MissingExtra(
                "the runtime torch needs torch, which is not installed. Leave the runtime out, as "
                f'{name_or_path} runs on onnxruntime too, or run: pip install "mmret[models]"'
            )
        raise MissingExtra(f'{name_or_path} runs on torch, which is not installed. Run: pip install "mmret[models]"')
    from mmret.encoder.torch_towers import load_towers

    return load_towers(os.fspath(name_or_path), folder)


def _gpu_in_use() -> bool:
    """Whether this program has loaded torch, and a GPU with it. Never loads torch itself: that would take seconds."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda is not None and cuda.is_available() and find_spec("transformers") is not None


def _names(recordings: Sequence[Recording]) -> list[str]:
    """What each recording is called in messages; one recording in place of a list is refused."""
    if isinstance(recordings, (str, os.PathLike)) or (isinstance(recordings, np.ndarray) and recordings.ndim < 2):
        raise TypeError("encoding takes a list of recordings, not one of them")
    return [_waveform(row) if isinstance(one, np.ndarray) else os.fspath(one) for row, one in enumerate(recordings)]


def _waveform(row: int) -> str:
    return f"waveform {row}"


def _check_waveform(waveform: NDArray[np.float32], name: str) -> None:
    if waveform.ndim != 1 or waveform.dtype.kind != "f":
        raise ValueError(f"{name} must be floats (time,) within -1 to 1, not {waveform.dtype} {waveform.shape}")
    if not len(waveform):
        raise AudioError(name, EMPTY)


def batches_of_equal_length(waveforms: Sequence[NDArray[np.float32]]) -> Iterator[list[int]]:
    """Rows of waveforms (time,) that go through a network together: of one length, and few."""
    by_length: dict[int, list[int]] = {}
    for row, waveform in enumerate(waveforms):
        by_length.setdefault(len(waveform), []).append(row)
    for rows in by_length.values():
        for start in range(0, len(rows), BATCH):
            yield rows[start : start + BATCH]
