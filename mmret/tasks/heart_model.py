"""A linear head on features of the heart's cycles: one small JSON file, numpy alone, normal against abnormal.

eval/hearts.py fits it and measures it on databases that it has not seen. Not a medical device.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmret.audio.heart_cycles import SAMPLE_RATE, SHORTEST_S
from mmret.audio.heart_features import HEART_FEATURES, heart_features
from mmret.audio.segments import Segment, WindowConfig, iter_segments
from mmret.encoder.encoder import PRETRAINED
from mmret.errors import ModelFormatError

HEART_MODEL_FILE = "heart_model.json"
FORMAT = 1
LARGEST_BYTES = 2**20
ABNORMAL_CLASSES = ("Abnormal", "Normal")
PIECE_S = 10.0  # what it was fitted on, or as much as there was


@dataclass(frozen=True)
class HeartHead:
    """Name of a set of HEART_FEATURES, its mean and deviation, and the weights and bias of the log odds of abnormal."""

    features: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def __post_init__(self) -> None:
        """Refuse what cannot be a head."""
        if self.features not in HEART_FEATURES:
            raise ModelFormatError(f"features {self.features!r} are none of {', '.join(HEART_FEATURES)}")
        if not len(self.mean) == len(self.deviation) == len(self.weights) > 0:
            raise ModelFormatError("mean, deviation and weights of a heart model must have one length")
        numbers = (*self.mean, *self.deviation, *self.weights, self.bias)
        if not all(math.isfinite(number) for number in numbers) or min(self.deviation) <= 0:
            raise ModelFormatError("a heart model needs finite numbers, and deviations above 0")

    def log_odds(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Features (clips, dim) -> log odds of abnormal (clips,)."""
        if features.shape[1] != len(self.weights):
            raise ModelFormatError(f"{self.features} has {features.shape[1]} numbers, the model {len(self.weights)}")
        return np.asarray((features - self.mean) / self.deviation @ np.array(self.weights) + self.bias)


class HeartModel:
    """Scores pieces of at most 10 s of a recording as abnormal or normal."""

    classes: tuple[str, ...] = ABNORMAL_CLASSES
    sample_rate = SAMPLE_RATE
    piece_s = PIECE_S

    def __init__(self, name: str, head: HeartHead) -> None:
        self.name, self.head = name, head

    @classmethod
    def open(cls, name_or_path: str | os.PathLike[str]) -> HeartModel:
        """Open a folder, or a shipped model by name; ModelFormatError where the file is not what it should be."""
        path = heart_model_file(name_or_path)
        if path is None:
            raise ModelFormatError(f"{name_or_path} holds no {HEART_MODEL_FILE}; make one with eval/hearts.py")
        if path.stat().st_size > LARGEST_BYTES:
            raise ModelFormatError(f"{path} is no heart model: it has more than {LARGEST_BYTES} bytes")
        try:
            stored = json.loads(path.read_bytes())
            return cls(path.parent.name, _head(stored))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelFormatError(f"{path} is no heart model of format {FORMAT}: {error}") from error
        except ModelFormatError as error:
            raise ModelFormatError(f"{path}: {error}") from error

    def save(self, folder: str | os.PathLike[str], about: dict[str, Any]) -> Path:
        """Write the model into a folder, with what it was made of and how good it is."""
        path = Path(folder) / HEART_MODEL_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"format": FORMAT, "head": asdict(self.head), "about": about}, indent=1) + "\n")
        return path

    def pieces(self, waveform: NDArray[np.float32]) -> list[Segment]:
        """Waveform (time,) at 2 kHz -> pieces of 10 s, the last right-aligned, a short recording whole."""
        return list(iter_segments([waveform], self.sample_rate, WindowConfig(self.piece_s, self.piece_s)))

    def logits(self, pieces: list[Segment]) -> NDArray[np.float64]:
        """Logits (pieces, 2) of Abnormal and Normal; ValueError for a piece too short to hold heart beats."""
        if any(piece.stop_s - piece.start_s < SHORTEST_S for piece in pieces):
            raise ValueError(f"too short: heart beats need {SHORTEST_S:g} s")
        name = self.head.features
        features = np.stack([heart_features(piece.waveform, [name])[name] for piece in pieces])
        odds = self.head.log_odds(features)
        return np.stack([odds, np.zeros_like(odds)], axis=1)


def heart_model_file(name_or_path: str | os.PathLike[str]) -> Path | None:
    """File of a heart model in a folder, or in a shipped one; None where there is none."""
    name = os.fspath(name_or_path)
    shipped = [PRETRAINED / name] if name and "/" not in name else []
    found = (folder / HEART_MODEL_FILE for folder in (*shipped, Path(name)))
    return next((path for path in found if path.is_file()), None)


def _head(stored: Any) -> HeartHead:
    if stored["format"] != FORMAT:
        raise ModelFormatError(f"format {stored['format']!r}; this version of mmret reads {FORMAT}")
    values = stored["head"]
    unknown = values.keys() ^ {field.name for field in fields(HeartHead)}
    if unknown:
        raise ValueError(f"head lacks or adds {sorted(unknown)[0]}")
    vectors = {name: tuple(map(float, values[name])) for name in ("mean", "deviation", "weights")}
    return HeartHead(features=str(values["features"]), bias=float(values["bias"]), **vectors)
