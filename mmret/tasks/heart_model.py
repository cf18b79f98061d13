"""A linear head on features of the heart's cycles: a small folder, numpy alone, normal against abnormal.

    heart_model.json    format, the set of features, what the model was made of
    head.npz            a LinearHead with one class: its logit is the log odds of abnormal

eval/hearts.py fits it and measures it on databases that it has not seen. Not a medical device.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmret.audio.heart_cycles import SAMPLE_RATE, SHORTEST_S
from mmret.audio.heart_features import HEART_FEATURES, heart_features
from mmret.audio.segments import Segment, WindowConfig, iter_segments
from mmret.encoder.encoder import PRETRAINED
from mmret.errors import ModelFormatError
from mmret.heads import LinearHead

HEART_MODEL_FILE = "heart_model.json"
HEAD_FILE = "head.npz"
FORMAT = 1
LARGEST_BYTES = 2**20
ABNORMAL_CLASSES = ("Abnormal", "Normal")
PIECE_S = 10.0  # what it was fitted on, or as much as there was


class HeartModel:
    """Scores pieces of at most 10 s of a recording as abnormal or normal.

    `features` names one of HEART_FEATURES, `head` turns it into the log odds of abnormal.
    """

    classes: tuple[str, ...] = ABNORMAL_CLASSES
    sample_rate = SAMPLE_RATE
    piece_s = PIECE_S

    def __init__(self, name: str, features: str, head: LinearHead) -> None:
        if features not in HEART_FEATURES:
            raise ModelFormatError(f"{name}: features {features!r} are none of {', '.join(HEART_FEATURES)}")
        if len(head.weight) != 1:
            raise ModelFormatError(f"{name}: a heart model gives one number, not {len(head.weight)}")
        self.name, self.features, self.head = name, features, head

    @classmethod
    def open(cls, name_or_path: str | os.PathLike[str]) -> HeartModel:
        """Open a folder, or a shipped model by name; ModelFormatError where the files are not what they should be."""
        path = heart_model_file(name_or_path)
        if path is None:
            raise ModelFormatError(f"{name_or_path} holds no {HEART_MODEL_FILE}; make one with eval/hearts.py")
        return cls(path.parent.name, _features(path), LinearHead.load(path.with_name(HEAD_FILE)))

    def save(self, folder: str | os.PathLike[str], about: dict[str, Any]) -> Path:
        """Write the model into a folder, with what it was made of."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.head.save(folder / HEAD_FILE)
        facts = {"format": FORMAT, "features": self.features, "about": about}
        (folder / HEART_MODEL_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        return folder

    def pieces(self, waveform: NDArray[np.float32]) -> list[Segment]:
        """Waveform (time,) at 2 kHz -> pieces of 10 s, the last right-aligned, a short recording whole."""
        return list(iter_segments([waveform], self.sample_rate, WindowConfig(self.piece_s, self.piece_s)))

    def logits(self, pieces: list[Segment]) -> NDArray[np.float64]:
        """Logits (pieces, 2) of Abnormal and Normal; ValueError for a piece too short to hold heart beats."""
        if any(len(piece.waveform) < SHORTEST_S * SAMPLE_RATE for piece in pieces):
            raise ValueError(f"too short: heart beats need {SHORTEST_S:g} s")
        found = [heart_features(piece.waveform, [self.features])[self.features] for piece in pieces]
        features = np.stack(found).astype(np.float32)
        if features.shape[1] != self.head.dim:
            raise ModelFormatError(
                f"{self.name}: {self.features} is {features.shape[1]} wide, its head {self.head.dim}"
            )
        odds = self.head.logits(features)[:, 0].astype(np.float64)
        return np.stack([odds, np.zeros_like(odds)], axis=1)


def heart_model_file(name_or_path: str | os.PathLike[str]) -> Path | None:
    """File of a heart model in a folder, or in a shipped one; None where there is none."""
    name = os.fspath(name_or_path)
    shipped = [PRETRAINED / name] if name and "/" not in name else []
    found = (folder / HEART_MODEL_FILE for folder in (*shipped, Path(name)))
    return next((path for path in found if path.is_file()), None)


def _features(path: Path) -> str:
    """Name of the features in a heart_model.json."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"it has more than {LARGEST_BYTES} bytes")
        stored = json.loads(path.read_bytes())
        if stored["format"] != FORMAT:
            raise ValueError(f"it has format {stored['format']!r}")
        return str(stored["features"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelFormatError(f"{path} is no heart model of format {FORMAT}: {error}") from error
