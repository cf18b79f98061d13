"""Training segments of patients on a made-up CirCor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmret.data import read_circor
from mmret.data.circor import MURMURS
from mmret.data.heart_segments import HeartSegments
from mmret.errors import DataLayoutError
from tests.heart_sounds import write_circor


def test_every_segment_has_the_label_of_its_patient(tmp_path: Path) -> None:
    root = write_circor(tmp_path, {"1": "Absent", "2": "Present", "3": "Unknown"}, seconds=6)
    data = HeartSegments(read_circor(root))
    assert len(data) == 8  # two segments a recording, two recordings where the murmur is present
    batch = data.batch([0, 2, 7], epoch=0, seed=0)
    assert batch["waveform"].shape == (3, 80_000)
    assert [MURMURS[row] for row in batch["target"].argmax(dim=1)] == ["Absent", "Present", "Unknown"]
    assert data.counts().tolist() == [2, 4, 2]
    assert 0.1 < batch["waveform"].abs().max() < 1


def test_a_class_without_patients_is_refused_for_weights(tmp_path: Path) -> None:
    data = HeartSegments(read_circor(write_circor(tmp_path, {"1": "Absent", "2": "Present"})))
    with pytest.raises(DataLayoutError, match="Unknown"):
        data.counts()


def test_recordings_too_short_for_a_segment_are_told(tmp_path: Path) -> None:
    patients = read_circor(write_circor(tmp_path, {"1": "Absent"}, seconds=2))
    with pytest.raises(DataLayoutError, match=r"2\.5 s"):
        HeartSegments(patients)


def test_segments_are_the_recording_in_16_bits(tmp_path: Path) -> None:
    from mmret.audio.decode import decode

    patients = read_circor(write_circor(tmp_path, {"1": "Absent"}, seconds=5))
    wave = decode(patients[0].recordings[0].path, 16_000)
    got = HeartSegments(patients).batch([0], 0, 0)["waveform"][0].numpy()
    np.testing.assert_allclose(got, wave, atol=0.6 / 32_768)
