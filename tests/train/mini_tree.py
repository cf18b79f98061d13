"""A made-up corpus for the recipe of mmret-mini: two packages, a few ESC-50 clips, a tagger with random weights."""

from __future__ import annotations

import importlib
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile

from tests.conftest import ROOT
from tests.data.tiny_tagger import write_tagger

RATE = 16_000
LABELS = ("dog", "rooster", "pig", "cow")


def script(name: str) -> ModuleType:
    """A script of train/mini/ as a module."""
    folder = str(ROOT / "train" / "mini")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def run(name: str, *arguments: object) -> None:
    """Run a script of train/mini/ in this process, as its command line does."""
    before, sys.argv = sys.argv, [name, *map(str, arguments)]
    try:
        script(name).main()
    finally:
        sys.argv = before


def sound(seed: int, seconds: float) -> np.ndarray:
    """A tone and some noise; no two seeds sound alike."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * (150 + 60 * seed) * time) + 0.02 * rng.standard_normal(len(time))


def write_esc50(root: Path) -> Path:
    """Two clips of each label in each of the folds 1 to 4, with licences; the second one is not to be trained on."""
    (root / "audio").mkdir(parents=True)
    rows = ["file,fold,target,category,licence,src_file"]
    for fold in (1, 2, 3, 4):
        for target, label in enumerate(LABELS):
            for take, licence in enumerate(("CC0", "CC-BY-NC")):
                name = f"{fold}-{100 * fold + 10 * target + take}-A-{target}.ogg"
                soundfile.write(root / "audio" / name, sound(40 + 8 * fold + 2 * target + take, 1.0), RATE)
                rows.append(f"{name},{fold},{target},{label},{licence},{100 * fold + 10 * target + take}")
    (root / "meta.csv").write_text("\n".join(rows) + "\n")
    return root


def write_work_dir(folder: Path) -> Path:
    """Unpacked packages below `folder`/packages: files, a zip container and what must be left out."""
    package = folder / "packages" / "game-data"
    (package / "sounds").mkdir(parents=True)
    for seed in range(4):
        soundfile.write(package / "sounds" / f"effect{seed}.wav", sound(seed, 1.0 + seed), RATE)
    soundfile.write(package / "sounds" / "copy.wav", sound(0, 1.0), RATE)
    soundfile.write(package / "sounds" / "silent.wav", np.zeros(RATE), RATE)
    (package / "sounds" / "broken.ogg").write_bytes(b"no sound at all")
    (package / "voice").mkdir()
    soundfile.write(package / "voice" / "hello.wav", sound(9, 1.0), RATE)
    other = folder / "packages" / "other-data"
    other.mkdir()
    soundfile.write(other / "inside.wav", sound(5, 0.5), RATE)
    with zipfile.ZipFile(other / "sounds.pk3", "w") as archive:
        archive.write(other / "inside.wav", "fx/inside.wav")
    (other / "inside.wav").unlink()
    return folder


def write_everything(root: Path) -> tuple[Path, Path, Path]:
    """WORK_DIR, ESC-50 and the tagger."""
    return write_work_dir(root / "work"), write_esc50(root / "esc50"), write_tagger(root / "tagger")
