"""A trained classifier as a folder: a linear head beside the name of its encoder, or a whole fine-tuned network.

    classifier.json    format, kind, labels, what made it and how it did
    head.npz           of kind "head": numbers that numpy applies to the encoder's vectors
    config.json, model.safetensors    of kind "whole": a transformers folder for audio classification

A head's encoder is opened by the name or path it was learnt with, or from the folder `encoder` inside; its fingerprint
must be the same.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmret._optional import require
from mmret.errors import EncoderMismatch, ModelFormatError
from mmret.heads import LinearHead
from mmret.tasks.writable import check_writable

FILE_NAME = "classifier.json"
HEAD_NAME = "head.npz"
ENCODER_NAME = "encoder"
FORMAT = 1
MAX_BYTES = 2**24
MAX_UNIT_S = 3600.0

Probabilities = NDArray[np.float32]


class Classifier(Protocol):
    """Labels, and the probability of each for one recording."""

    labels: list[str]

    def probabilities(self, path: str | os.PathLike[str]) -> Probabilities:
        """Probabilities (labels,); AudioError where the recording cannot be used."""
        ...


@dataclass(frozen=True)
class Facts:
    """Contents of classifier.json. `encoder` is what opens a head's encoder, `unit_s` the piece a network hears."""

    kind: str
    labels: list[str]
    encoder: Mapping[str, str]
    unit_s: float
    results: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write classifier.json into a folder."""
        facts = {"format": FORMAT, "kind": self.kind, "labels": self.labels, "encoder": dict(self.encoder)}
        whole = {**facts, "unit_s": self.unit_s, "results": dict(self.results)}
        (folder / FILE_NAME).write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def is_classifier(model: str | os.PathLike[str]) -> bool:
    """Whether a model is a folder with a trained classifier in it."""
    return (Path(model) / FILE_NAME).is_file()


def read_facts(folder: Path) -> Facts:
    """classifier.json of a folder; ModelFormatError says what is wrong with it."""
    path = folder / FILE_NAME
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES} bytes")
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["format"] != FORMAT:
            raise ValueError(f"format {stored['format']!r}; this mmret reads {FORMAT}")
        facts = Facts(**{name: stored[name] for name in ("kind", "labels", "encoder", "unit_s", "results")})
        _check(facts)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFormatError(f"{path} does not describe a classifier of mmret ({error}); train it again") from None
    return facts


def _check(facts: Facts) -> None:
    names = facts.labels
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise ValueError("labels must be two names at least")
    if facts.kind not in ("head", "whole") or not isinstance(facts.encoder, dict):
        raise ValueError(f"kind {facts.kind!r}")
    if not isinstance(facts.unit_s, (int, float)) or not 0 <= facts.unit_s <= MAX_UNIT_S:
        raise ValueError(f"unit_s {facts.unit_s!r}")
    if facts.kind == "head" and not all(isinstance(facts.encoder.get(name), str) for name in ("model", "fingerprint")):
        raise ValueError("the encoder is not named")


class HeadClassifier:
    """A linear head on an encoder's vectors of whole recordings."""

    def __init__(self, encoder: Any, head: LinearHead, labels: Sequence[str]) -> None:
        self._encoder, self._head, self.labels = encoder, head, list(labels)

    def probabilities(self, path: str | os.PathLike[str]) -> Probabilities:
        """Probabilities (labels,) of one recording."""
        found: Probabilities = self._head.probabilities(self._encoder.encode_scenes([path]))[0]
        return found


def open_classifier(folder: str | os.PathLike[str], *, runtime: str = "auto") -> Classifier:
    """Open what `save_head` or a whole fine-tuning wrote; only the latter loads torch by itself."""
    folder = Path(folder)
    facts = read_facts(folder)
    if facts.kind == "whole":
        for package in ("torch", "transformers"):
            require(package, extra="models")
        from mmret.tasks.whole_classifier import WholeClassifier

        return WholeClassifier(folder, facts)
    from mmret.encoder import Encoder

    inside = folder / ENCODER_NAME
    model = str(inside) if inside.is_dir() else facts.encoder["model"]
    needed = facts.encoder.get("runtime", "auto")
    try:
        encoder = Encoder.from_pretrained(model, runtime=needed if runtime == "auto" else runtime)
        encoder.open_audio()
    except ModelFormatError as error:
        raise ModelFormatError(
            f"the encoder of {folder} cannot be opened: {error}. Put it back, or put a copy of it at {inside}"
        ) from error
    head = LinearHead.load(folder / HEAD_NAME)
    if encoder.fingerprint != facts.encoder["fingerprint"]:
        raise EncoderMismatch(
            f"{folder} was learnt on another model than {model} is now; put that model at {inside}, or train again"
        )
    if head.weight.shape != (len(facts.labels), encoder.scene_dim):
        raise ModelFormatError(
            f"{folder / HEAD_NAME} takes {head.dim} numbers for {len(head.bias)} labels, {model} gives "
            f"{encoder.scene_dim} (runtime {encoder.runtime}) and {FILE_NAME} names {len(facts.labels)}; "
            "leave the runtime out, or train again"
        )
    return HeadClassifier(encoder, head, facts.labels)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write a classifier into, which becomes `out` when all went well; nothing is left otherwise."""
    refuse_unusable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / "classifier"
        folder.mkdir()
        yield folder
        folder.rename(out)


def refuse_unusable(out: Path) -> None:
    """MmretError where `out` is there already or cannot be made; told before any work is done."""
    if out.exists():
        raise ModelFormatError(f"{out} exists already; name a folder that does not")
    check_writable(out)


def save_head(out: Path, head: LinearHead, facts: Facts) -> None:
    """Write a folder with a head; whole or not at all."""
    with new_folder(out) as folder:
        head.save(folder / HEAD_NAME)
        facts.write(folder)


def save_with(out: Path, write: Callable[[Path], None], facts: Facts) -> None:
    """Write a folder with a network that `write` puts there; whole or not at all."""
    with new_folder(out) as folder:
        write(folder)
        facts.write(folder)
