"""The evaluation scripts, a tiny corpus and an encoder that reads its vectors from file names."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mmret

SCRIPTS = Path(__file__).resolve().parents[2] / "eval"
CLASSES = ("dog", "rain", "siren", "keyboard_typing")


class NamedEncoder:
    """Hears a clip as the word before the first dash of its name, reads a text as the words it holds."""

    name, dim, sample_rate, fingerprint, runtime = "named", len(CLASSES), 16000, "f00d", "none"
    windows = SimpleNamespace(window_s=2.0, hop_s=1.0)

    def encode_audio(self, clips: Sequence[Path]) -> np.ndarray:
        return self._vectors([path.name.partition("-")[0] for path in clips])

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        return self._vectors([text.replace(" ", "_") for text in texts])

    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        hit = np.array([[name in text for name in CLASSES] for text in texts], dtype=np.float32)
        return hit / np.linalg.norm(hit, axis=1, keepdims=True)


@pytest.fixture
def script() -> Callable[[str], ModuleType]:
    """Loads eval/NAME.py as a module of its own."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"eval_{name}", SCRIPTS / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> NamedEncoder:
    """The encoder that the scripts get, whatever model they ask for."""
    named = NamedEncoder()
    fake: Any = SimpleNamespace(from_pretrained=lambda name: named)
    # into the module's own table: asking it for the name would load the real encoder
    monkeypatch.setitem(vars(mmret), "Encoder", fake)
    return named


@pytest.fixture
def esc50(tmp_path: Path) -> Path:
    """Two clips a class in each of folds 1 to 4; the second siren of fold 4 sounds like rain."""
    root = tmp_path / "esc50"
    root.mkdir()
    rows = ["file,fold,target,category"]
    for fold in range(1, 5):
        for target, label in enumerate(CLASSES):
            for take in "ab":
                heard = "rain" if (fold, label, take) == (4, "siren", "b") else label
                rows.append(f"{heard}-{label}-{fold}{take}.ogg,{fold},{target},{label}")
    for row in rows[1:]:
        (root / row.partition(",")[0]).touch()
    (root / "meta.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    """Four recordings, two of which share a caption."""
    root = tmp_path / "captioned"
    (root / "audio").mkdir(parents=True)
    table = {"dog-1": "a dog barks", "dog-2": "A dog  barks", "rain-1": "rain falls", "siren-1": "a siren wails"}
    for name in table:
        (root / "audio" / f"{name}.ogg").touch()
    rows = (f"{name}.ogg,{caption}" for name, caption in table.items())
    (root / "captions.csv").write_text("\n".join(["file,caption", *rows]) + "\n")
    return root
