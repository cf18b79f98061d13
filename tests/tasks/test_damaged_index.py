"""A run of adding into an index with damaged vectors does not hand the damage on."""

from __future__ import annotations

import shutil
from pathlib import Path

from mmret.tasks.maintenance import salvage_index
from mmret.tasks.search import Index
from tests.tasks.fake_encoder import FakeEncoder, write_tone


def test_copies_of_damaged_recordings_are_encoded_anew_and_outlive_a_salvage(tmp_path: Path) -> None:
    for number in range(3):
        write_tone(tmp_path / "sounds" / f"{number}.wav", 300 + 400 * number, seed=number)
    encoder = FakeEncoder()
    with Index.open(tmp_path / "index", encoder) as index:
        index.add(tmp_path / "sounds")
        path = tmp_path / "index" / "vectors" / "000001.f32"
        path.write_bytes(b"\x7f" * 4 + path.read_bytes()[4:])
        for copies in ("copies", "more"):
            shutil.copytree(tmp_path / "sounds", tmp_path / copies)
        before = encoder.encoded
        report = index.add([tmp_path / "copies", tmp_path / "more"])
    assert (report.added, report.reused) == (6, 5)  # the first copy of the damaged one serves the second
    assert encoder.encoded == before + before // 3
    saved = salvage_index(tmp_path / "index", tmp_path / "saved")
    assert (saved.files, [lost.path for lost in saved.lost]) == (8, [str(tmp_path / "sounds" / "0.wav")])
