"""Classification: which label fits each recording, by words without training, or by a classifier that was trained."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmret.errors import AudioError, MmretError
from mmret.metrics.prompts import DEFAULT_TEMPLATE, caption
from mmret.tasks.classifier import Classifier
from mmret.tasks.indexing import find_audio
from mmret.tasks.recordings import FailedFile, absolute
from mmret.tasks.search_encoder import SearchEncoder
from mmret.tasks.words import check_words

__all__ = [
    "Classification",
    "ClassifyReport",
    "FailedFile",
    "LabelScore",
    "classify",
    "classify_each",
    "find_files",
    "recognise_each",
]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class LabelScore:
    """A label and its score: of words the cosine between sentence and sound, -1 to 1; of a classifier a probability."""

    label: str
    score: float


@dataclass(frozen=True)
class Classification:
    """All labels of one recording, best first; equal scores stay in the order in which the labels were given."""

    path: Path
    labels: list[LabelScore]


@dataclass
class ClassifyReport:
    """Recordings with their labels, and files that could not be used."""

    results: list[Classification] = field(default_factory=list)
    failed: list[FailedFile] = field(default_factory=list)


def classify(
    encoder: SearchEncoder, paths: Iterable[PathLike], labels: Sequence[str], *, prompt: str = DEFAULT_TEMPLATE
) -> ClassifyReport:
    """Rank `labels` for each file, or each recording below a folder; a file that fails stops nothing."""
    report = ClassifyReport()
    for outcome in classify_each(encoder, find_files(paths), labels, prompt=prompt):
        if isinstance(outcome, FailedFile):
            report.failed.append(outcome)
        else:
            report.results.append(outcome)
    return report


def classify_each(
    encoder: SearchEncoder,
    files: Iterable[Path | FailedFile],
    labels: Sequence[str],
    *,
    prompt: str = DEFAULT_TEMPLATE,
) -> Iterator[Classification | FailedFile]:
    """Yield the outcome of each file as soon as it is known; what has failed already is passed on."""
    if not labels:
        raise ValueError("classification needs at least one label")
    check_words([prompt, *labels])
    encoder.open_audio()  # a damaged model is told once, and is no fault of any recording
    sentences = encoder.encode_text([caption(label, prompt) for label in labels])  # (labels, dim)
    yield from _ranked(files, labels, lambda file: sentences @ encoder.encode_audio([file])[0])


def recognise_each(classifier: Classifier, files: Iterable[Path | FailedFile]) -> Iterator[Classification | FailedFile]:
    """Yield the outcome of each file by a classifier's own labels."""
    return _ranked(files, classifier.labels, classifier.probabilities)


def _ranked(
    files: Iterable[Path | FailedFile], labels: Sequence[str], score: Callable[[Path], NDArray[np.float32]]
) -> Iterator[Classification | FailedFile]:
    for file in files:
        if isinstance(file, FailedFile):
            yield file
            continue
        try:
            scores = score(file)
        except AudioError as error:
            yield FailedFile(file, error.reason)
            continue
        except MmretError as error:  # no vector for this recording, as when its windows cancel out
            yield FailedFile(file, str(error))
            continue
        except OSError as error:
            yield FailedFile(file, error.strerror or str(error))
            continue
        order = np.argsort(-scores, kind="stable")
        yield Classification(file, [LabelScore(labels[row], float(scores[row])) for row in order])


def find_files(paths: Iterable[PathLike]) -> list[Path | FailedFile]:
    """Files named by `paths` and recordings below folders, each once, their paths written as the user began them."""
    found: dict[Path, Path | FailedFile] = {}
    for path in paths:
        listing = find_audio([path])
        start = absolute(path)
        for file in listing.files:
            found.setdefault(file.path, Path(path).expanduser() / file.path.relative_to(start))
        for failed in listing.unreadable:
            found.setdefault(failed.path, failed)
    return list(found.values())
