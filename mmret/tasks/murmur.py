"""Heart murmurs of a patient: every recording is heard in pieces, and the recordings decide together.

Not a medical device: what comes out is a score of a research model, no diagnosis.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmret.audio.decode import decode
from mmret.audio.segments import Segment
from mmret.data.circor import RECORDING_NAME
from mmret.errors import AudioError, MmretError, ModelFormatError
from mmret.metrics.murmur import DECISIONS, Decision, decide, ensemble_logits, recording_logits, softmax
from mmret.tasks.classify import find_files
from mmret.tasks.heart_model import HeartModel, heart_model_file
from mmret.tasks.recordings import FailedFile, absolute

Array = NDArray[np.float64]

NO_DEVICE = "not a medical device: scores of a research model, no diagnosis"
NO_HEART = "what is no heart sound is not noticed: it gets a score like any other"
ABNORMAL = "abnormal is any heart disease of the training data, coronary disease among it, not murmurs alone"
MANY = 20  # recordings that hardly come from one patient


class MurmurModel(Protocol):
    """What hears a recording in pieces; its classes stand in the order in which one recording decides for all."""

    name: str
    classes: tuple[str, ...]
    sample_rate: int
    piece_s: float

    def pieces(self, waveform: NDArray[np.float32]) -> list[Segment]:
        """Waveform (time,) at the model's rate -> what it hears one by one, at least one piece."""
        ...

    def logits(self, pieces: list[Segment]) -> Array:
        """Logits (pieces, classes); ValueError says why pieces cannot be heard."""
        ...


@dataclass(frozen=True)
class ScoredPiece:
    """Where a piece lies in its recording, and the probability of each class."""

    start_s: float
    stop_s: float
    probabilities: Mapping[str, float]


@dataclass(frozen=True)
class ScoredRecording:
    """Class and probabilities of a recording and of its pieces; its place on the chest where the name tells it."""

    path: Path
    location: str
    label: str
    probabilities: Mapping[str, float]
    pieces: list[ScoredPiece]


@dataclass(frozen=True)
class PatientReport:
    """What the recordings decide together, each of them, and files that could not be used.

    `probabilities` are those of the mean logits of the recordings; by the rule, one recording may decide against them.
    """

    patient: str
    decision: Decision
    label: str
    probabilities: Mapping[str, float]
    recordings: list[ScoredRecording] = field(default_factory=list)
    failed: list[FailedFile] = field(default_factory=list)


def limits_of(report: PatientReport) -> str:
    """What the scores leave open, in a line."""
    return f"{ABNORMAL}; {NO_HEART}" if "Abnormal" in report.probabilities else NO_HEART


def open_murmur_model(name_or_path: str | os.PathLike[str]) -> MurmurModel:
    """A model folder of train/murmur.py or of eval/hearts.py, or a shipped model by name."""
    if heart_model_file(name_or_path) is not None:
        return HeartModel.open(name_or_path)
    folder = Path(name_or_path)
    if not (folder / "config.json").is_file():  # transformers would take it for a hub id and go to the network
        raise ModelFormatError(f"{folder} is no model of heart sounds: make one with train/murmur.py or eval/hearts.py")
    from mmret.tasks.murmur_classifier import MurmurClassifier

    return MurmurClassifier(folder)


def score_patient(
    models: Sequence[MurmurModel], folder: str | os.PathLike[str], *, decision: Decision = "rule"
) -> PatientReport:
    """Score all recordings below a folder, which are of one patient, or one file."""
    files = find_files([folder])
    return score_recordings(models, files, patient=_patient_of(folder, files), decision=decision)


def score_recordings(
    models: Sequence[MurmurModel], files: Sequence[Path | FailedFile], *, patient: str, decision: Decision = "rule"
) -> PatientReport:
    """Score a patient's recordings; several models count by their mean probability.

    A recording that fails stops nothing, unless none is left.
    """
    if decision not in DECISIONS:
        raise ValueError(f"decision {decision!r} is none of {', '.join(DECISIONS)}")
    _check_models(models)
    outcomes = [file if isinstance(file, FailedFile) else _tried(models, file) for file in files]
    failed = [one for one in outcomes if isinstance(one, FailedFile)]
    heard = [one for one in outcomes if not isinstance(one, FailedFile)]
    if not heard:
        first = f"{failed[0].path}: {failed[0].reason}" if failed else "there are none"
        raise MmretError(f"patient {patient}: not one of {len(failed)} recordings can be used; {first}")
    classes = models[0].classes
    logits = np.stack([logits for _, logits in heard])
    return PatientReport(
        patient,
        decision,
        classes[decide(logits, decision)],
        _named(classes, softmax(logits.mean(axis=0))),
        [recording for recording, _ in heard],
        failed,
    )


def _check_models(models: Sequence[MurmurModel]) -> None:
    if not models:
        raise ValueError("a score needs at least one model")
    first = models[0]
    for other in models[1:]:
        if (other.classes, other.piece_s) != (first.classes, first.piece_s):
            raise ModelFormatError(
                f"{first.name} tells {', '.join(first.classes)} apart in pieces of {first.piece_s:g} s, {other.name} "
                f"{', '.join(other.classes)} in pieces of {other.piece_s:g} s: models that score together must agree"
            )


def _patient_of(folder: str | os.PathLike[str], files: Sequence[Path | FailedFile]) -> str:
    """Number of the patient by the recordings' names, else the name of the folder; several numbers are refused."""
    paths = [file.path if isinstance(file, FailedFile) else file for file in files]
    numbers = sorted({match["patient"] for path in paths if (match := RECORDING_NAME.match(path.stem))})
    if len(numbers) > 1:
        some = ", ".join(numbers[:3])
        raise MmretError(f"{folder} holds recordings of {len(numbers)} patients ({some}): give a folder of one patient")
    return numbers[0] if numbers else absolute(folder).name


def _tried(models: Sequence[MurmurModel], path: Path) -> tuple[ScoredRecording, Array] | FailedFile:
    """A recording with its logits (classes,), or why it could not be used."""
    try:
        return _scored(models, path)
    except AudioError as error:
        return FailedFile(path, error.reason)
    except OSError as error:
        return FailedFile(path, error.strerror or str(error))


def _scored(models: Sequence[MurmurModel], path: Path) -> tuple[ScoredRecording, Array]:
    by_model, pieces = [], []
    for model in models:
        pieces = model.pieces(decode(path, model.sample_rate))
        try:
            by_model.append(model.logits(pieces))
        except ValueError as error:
            raise AudioError(path, str(error)) from error
    classes = models[0].classes
    scored = [
        ScoredPiece(piece.start_s, piece.stop_s, _named(classes, softmax(logits)))
        for piece, logits in zip(pieces, ensemble_logits(by_model), strict=True)
    ]
    whole = ensemble_logits([recording_logits(logits) for logits in by_model])
    match = RECORDING_NAME.match(path.stem)
    label = classes[int(whole.argmax())]
    recording = ScoredRecording(
        path, match["location"] if match else "", label, _named(classes, softmax(whole)), scored
    )
    return recording, whole


def _named(classes: Sequence[str], probabilities: Array) -> dict[str, float]:
    return dict(zip(classes, probabilities.tolist(), strict=True))
