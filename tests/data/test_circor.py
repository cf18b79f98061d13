"""The CirCor reader on made-up trees, its splits and its segments."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmret.data import READERS, circor
from mmret.data.circor import PARTS, SPLITS, HeartRecording, Patient
from mmret.errors import DataLayoutError

HEADER = "Patient ID,Recording locations:,Age,Murmur,Outcome,Additional ID\n"
ROWS = "2530,AV+PV,Child,Absent,Abnormal,\n09979,AV,Child,Present,Abnormal,68316\n68316,MV,Child,Present,Normal,09979\n"
NAMES = ("2530_AV.wav", "2530_PV.wav", "2530_PV_2.wav", "09979_AV.wav", "68316_MV.wav", "2530_AV.tsv", "notes.wav")


def _tree(root: Path, *, folder: str = "training_data") -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "training_data.csv").write_text(HEADER + ROWS)
    for name in NAMES:
        (root / folder / name).touch()
    return root


@pytest.mark.parametrize("folder", ["training_data", "."])
def test_patients_come_in_the_tables_order_with_their_recordings(tmp_path: Path, folder: str) -> None:
    patients = READERS["circor"](_tree(tmp_path, folder=folder))
    assert [(one.id, one.murmur, one.same_as) for one in patients] == [
        ("2530", "Absent", ""),
        ("09979", "Present", "68316"),
        ("68316", "Present", "09979"),
    ]
    assert patients[0].recordings == (
        HeartRecording(tmp_path / folder / "2530_AV.wav", "AV"),
        HeartRecording(tmp_path / folder / "2530_PV.wav", "PV"),
        HeartRecording(tmp_path / folder / "2530_PV_2.wav", "PV"),
    )


def test_the_folder_of_the_recordings_will_do(tmp_path: Path) -> None:
    assert len(circor.read_circor(_tree(tmp_path) / "training_data")) == 3


def test_without_a_table_the_message_says_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(DataLayoutError, match=r"training_data\.csv.*physionet\.org"):
        circor.read_circor(tmp_path)


def test_patients_without_recordings_are_told_once(tmp_path: Path) -> None:
    (_tree(tmp_path) / "training_data" / "68316_MV.wav").unlink()
    with pytest.raises(DataLayoutError, match=r"1 of 3 patients .*68316"):
        circor.read_circor(tmp_path)


def test_another_label_is_refused(tmp_path: Path) -> None:
    table = _tree(tmp_path) / "training_data.csv"
    table.write_text(table.read_text().replace("Absent", "absent").replace("68316,MV,Child,Present", "68316,MV,x,yes"))
    with pytest.raises(DataLayoutError, match="'yes'"):
        circor.read_circor(tmp_path)


@pytest.mark.parametrize("split", SPLITS)
def test_parts_of_a_published_split_share_no_patient(split: int) -> None:
    parts = [circor.split_ids(split, part) for part in PARTS]
    assert [len(part) for part in parts] == [611, 95, 236]
    assert len(set().union(*parts)) == 942


def test_a_missing_patient_of_a_published_split_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataLayoutError, match="610 of 611 patients of split 1, train"):
        circor.patients_of(circor.read_circor(_tree(tmp_path)), 1, "train")
    with pytest.raises(ValueError, match="no split 4"):
        circor.split_ids(4, "train")


def _patients(counts: dict[str, int]) -> list[Patient]:
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [Patient(str(number), label, ()) for number, label in enumerate(labels, 1000)]


def test_drawn_parts_have_equal_shares_of_each_label() -> None:
    parts = circor.stratified_parts(_patients({"Absent": 100, "Present": 40, "Unknown": 20}), np.random.default_rng(0))
    shares = {part: dict(Counter(one.murmur for one in patients)) for part, patients in parts.items()}
    assert shares == {
        "train": {"Absent": 65, "Present": 26, "Unknown": 13},
        "valid": {"Absent": 10, "Present": 4, "Unknown": 2},
        "test": {"Absent": 25, "Present": 10, "Unknown": 5},
    }


@given(seed=st.integers(0, 2**32 - 1), pairs=st.integers(1, 10))
def test_a_person_who_came_twice_stays_in_one_part(seed: int, pairs: int) -> None:
    twice = [
        Patient(f"{side}{pair}", "Absent", (), same_as=f"{other}{pair}")
        for pair in range(pairs)
        for side, other in ((1, 2), (2, 1))
    ]
    everyone = twice + _patients({"Present": 9})
    parts = circor.stratified_parts(everyone, np.random.default_rng(seed))
    where = {one.id: part for part, patients in parts.items() for one in patients}
    assert sorted(where) == sorted(one.id for one in everyone)
    assert all(where[one.id] == where[one.same_as] for one in twice)


@pytest.mark.parametrize(("samples", "pieces"), [(39_999, 0), (40_000, 1), (80_000, 2), (119_999, 2), (120_000, 3)])
def test_training_segments_start_where_the_published_ones_do(samples: int, pieces: int) -> None:
    wave = np.arange(1, samples + 1, dtype=np.float32)
    segments = circor.training_segments(wave)
    assert [segment.shape for segment in segments] == [(80_000,)] * pieces
    assert [segment[0] for segment in segments] == [1 + 40_000 * number for number in range(pieces)]
    if pieces:
        heard = min(80_000, samples - 40_000 * (pieces - 1))
        assert segments[-1][heard - 1] == samples and not segments[-1][heard:].any()


@pytest.mark.parametrize(("samples", "pieces"), [(1, 1), (80_000, 1), (159_999, 1), (160_000, 2)])
def test_scoring_segments_lie_side_by_side_without_the_tail(samples: int, pieces: int) -> None:
    segments = circor.scoring_segments(np.ones(samples, np.float32))
    assert [segment.shape for segment in segments] == [(80_000,)] * pieces
    assert sum(segment.sum() for segment in segments) == min(samples, 80_000 * pieces)
