"""CirCor DigiScope (Oliveira et al., 2022), the data of the PhysioNet Challenge 2022: murmurs by patient.

Reads the published layout, training_data.csv beside or above training_data/{patient}_{location}[_{n}].wav, and a folder
that holds table and recordings side by side. The recordings of a patient share one label, and never cross a split.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mmret.data.tables import read_table
from mmret.errors import DataLayoutError

Murmur = Literal["Absent", "Present", "Unknown"]
Part = Literal["train", "valid", "test"]
Samples = NDArray[np.float32]

MURMURS: tuple[Murmur, ...] = get_args(Murmur)  # alphabetical: the order of the classes in training
PARTS: tuple[Part, ...] = get_args(Part)
SPLITS = (1, 2, 3)
TABLE = "training_data.csv"
WHERE = (
    "fetch https://physionet.org/content/circor-heart-sound/1.0.3/ and give the unpacked folder, "
    "the one that holds training_data.csv and training_data/"
)
SAMPLE_RATE = 16_000
SEGMENT = 80_000  # 5 s
SEGMENT_HOP = 40_000
RECORDING_NAME = re.compile(r"^(?P<patient>\d+)_(?P<location>AV|PV|TV|MV|Phc)(?:_\d+)?$")
_SPLIT_FILE = Path(__file__).with_name("circor_splits.json")


@dataclass(frozen=True)
class HeartRecording:
    """One recording and where on the chest it was made: AV, PV, TV, MV or Phc (elsewhere)."""

    path: Path
    location: str


@dataclass(frozen=True)
class Patient:
    """A patient's recordings and the label that they share. `same_as` is the id under which the person came again."""

    id: str
    murmur: Murmur
    recordings: tuple[HeartRecording, ...]
    same_as: str = ""


def read_circor(root: str | os.PathLike[str]) -> list[Patient]:
    """All patients that have a recording, in the table's order; complains once about patients without any."""
    root = Path(root)
    table = next((path for path in (root / TABLE, root.parent / TABLE) if path.is_file()), None)
    if table is None:
        raise DataLayoutError(f"{root} holds no CirCor DigiScope: there is no {TABLE}. To get it, {WHERE}")
    folder = root / "training_data" if (root / "training_data").is_dir() else root
    recordings = find_recordings(folder)
    rows = read_table(table, required=("Patient ID", "Murmur"))
    ids = [row["Patient ID"].strip() for row in rows]
    lacking = [patient for patient in ids if patient not in recordings]
    if lacking:
        raise DataLayoutError(
            f"{len(lacking)} of {len(ids)} patients of {table} have no recording in {folder}: "
            f"{', '.join(lacking[:3])}{' ...' if len(lacking) > 3 else ''}. Do this: {WHERE}"
        )
    return [
        Patient(patient, _murmur(row["Murmur"], table), recordings[patient], row.get("Additional ID", "").strip())
        for patient, row in zip(ids, rows, strict=True)
    ]


def find_recordings(folder: Path) -> dict[str, tuple[HeartRecording, ...]]:
    """Recordings in a folder by patient, in order of their names; other files are passed over."""
    found: defaultdict[str, list[HeartRecording]] = defaultdict(list)
    for path in sorted(folder.glob("*.wav")):
        name = RECORDING_NAME.match(path.stem)
        if name:
            found[name["patient"]].append(HeartRecording(path, name["location"]))
    return {patient: tuple(recordings) for patient, recordings in found.items()}


def patients_of(patients: Sequence[Patient], split: int, part: Part) -> list[Patient]:
    """Patients of one part of a published split, in the order given; complains about those that are missing.

    The three splits are those of Niizumi et al. (2024): stratified by label, 611, 95 and 236 patients.
    """
    wanted = set(split_ids(split, part))
    found = [patient for patient in patients if patient.id in wanted]
    if len(found) != len(wanted):
        missing = sorted(wanted - {patient.id for patient in found}, key=int)
        raise DataLayoutError(
            f"{len(missing)} of {len(wanted)} patients of split {split}, {part}, are not there: "
            f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}. Do this: {WHERE}"
        )
    return found


def split_parts(patients: Sequence[Patient], split: int, seed: int) -> dict[Part, list[Patient]]:
    """Train, valid and test of a published split, 1 to 3; split 0 is drawn with the seed, for other patients."""
    if split == 0:
        return stratified_parts(patients, np.random.default_rng(seed))
    return {part: patients_of(patients, split, part) for part in PARTS}


def split_ids(split: int, part: Part) -> tuple[str, ...]:
    """Patient ids of one part of a published split, ascending.

    >>> len(split_ids(1, "train"))
    611
    """
    if split not in SPLITS or part not in PARTS:
        raise ValueError(f"no split {split!r}, {part!r}: there are splits {SPLITS} of parts {PARTS}")
    return tuple(str(patient) for patient in _published_splits()[f"split{split}"][part])


def stratified_parts(
    patients: Sequence[Patient], generator: np.random.Generator, *, shares: tuple[float, float] = (0.65, 0.10)
) -> dict[Part, list[Patient]]:
    """Patients drawn into train, valid and test with equal shares of each label; the rest of `shares` is the test.

    People who came twice (`same_as`) stay together, in the part that the first of their ids was drawn into.
    """
    drawn: dict[str, Part] = {}
    people: defaultdict[Murmur, list[str]] = defaultdict(list)
    for person, members in _people(patients).items():
        people[members[0].murmur].append(person)
    for label in MURMURS:
        order = generator.permutation(len(people[label]))
        bounds = np.rint(np.cumsum(shares) * len(order)).astype(int)
        for part, rows in zip(PARTS, np.split(order, bounds), strict=True):
            drawn.update({people[label][row]: part for row in rows})
    persons = {patient.id: person for person, members in _people(patients).items() for patient in members}
    return {part: [one for one in patients if drawn[persons[one.id]] == part] for part in PARTS}


def training_segments(waveform: Samples) -> list[Samples]:
    """Waveform (time,) at 16 kHz -> pieces (80000,) of 5 s every 2.5 s, the last filled up with zeros.

    Starts are range(0, time - 40000 + 1, 40000), as published: less than 2.5 s gives none.
    """
    starts = range(0, len(waveform) - SEGMENT_HOP + 1, SEGMENT_HOP)
    return [_filled(waveform[start : start + SEGMENT]) for start in starts]


def scoring_segments(waveform: Samples) -> list[Samples]:
    """Waveform (time,) at 16 kHz -> pieces (80000,) side by side; what is left at the end is dropped.

    Less than 5 s is filled up with zeros.
    """
    filled = _filled(waveform)
    return [filled[start : start + SEGMENT] for start in range(0, len(filled) - SEGMENT + 1, SEGMENT)]


def _filled(waveform: Samples) -> Samples:
    return np.pad(waveform, (0, max(0, SEGMENT - len(waveform))))


def _people(patients: Sequence[Patient]) -> dict[str, list[Patient]]:
    """Patients by person: the smaller of two ids that name each other."""
    people: defaultdict[str, list[Patient]] = defaultdict(list)
    known = {patient.id for patient in patients}
    for patient in patients:
        other = patient.same_as if patient.same_as in known else patient.id
        people[min(patient.id, other)].append(patient)
    return dict(people)


def _murmur(label: str, table: Path) -> Murmur:
    for known in MURMURS:
        if label.strip().lower() == known.lower():
            return known
    raise DataLayoutError(f"{table}: the column Murmur holds {label!r}; it must be one of {', '.join(MURMURS)}")


@cache
def _published_splits() -> dict[str, dict[Part, list[int]]]:
    splits: dict[str, dict[Part, list[int]]] = json.loads(_SPLIT_FILE.read_text(encoding="utf-8"))
    return splits
