"""The file of vectors: readable without pickles, whole or absent, whatever fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmret.encoder import Encoder
from mmret.tasks.embed import embed_scenes, embed_timestamps
from mmret.tasks.recordings import FailedFile
from tests.encoder import tiny_models
from tests.tasks.fake_encoder import write_tone


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.from_pretrained(tiny_models.conv_clap(tmp_path_factory.mktemp("model"), text=False))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_tone(tmp_path / name, 300 + 500 * n, 1.0 + n, seed=n) for n, name in enumerate(("a.wav", "bé.wav"))]


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def test_one_vector_a_recording(encoder: Encoder, files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "vectors.npz"
    report = embed_scenes(encoder, files, out)
    assert (report.recordings, report.vectors, report.failed) == (2, 2, [])
    stored = read(out)
    assert sorted(stored) == ["fingerprint", "model", "paths", "vectors"]
    assert stored["paths"].tolist() == [str(path) for path in files]
    assert (str(stored["model"]), str(stored["fingerprint"])) == (encoder.name, encoder.fingerprint)
    np.testing.assert_array_equal(stored["vectors"], encoder.encode_scenes(files))
    assert [path.name for path in out.parent.iterdir()] == ["vectors.npz"]


def test_timestamps_are_every_window_with_its_time(encoder: Encoder, files: list[Path], tmp_path: Path) -> None:
    report = embed_timestamps(encoder, files, tmp_path / "vectors.npz")
    stored = read(tmp_path / "vectors.npz")
    windows = [list(encoder.encode_timestamps(path)) for path in files]
    assert report.vectors == sum(map(len, windows)) == len(stored["paths"])
    assert stored["paths"].tolist() == [str(path) for path, rows in zip(files, windows, strict=True) for _ in rows]
    flat = [row for rows in windows for row in rows]
    np.testing.assert_array_equal(stored["vectors"], [row.vector for row in flat])
    np.testing.assert_array_equal(stored["start_s"], [row.start_s for row in flat])
    np.testing.assert_array_equal(stored["stop_s"], [row.stop_s for row in flat])


def test_a_recording_that_fails_on_the_way_leaves_no_row(encoder: Encoder, files: list[Path], tmp_path: Path) -> None:
    longer = tmp_path / "cut.wav"
    longer.write_bytes(write_tone(tmp_path / "whole.wav", 500, 3.0).read_bytes()[:30_000])
    known = FailedFile(tmp_path / "known.wav", "was told before")
    report = embed_timestamps(encoder, [files[0], longer, known, files[1]], tmp_path / "vectors.npz")
    assert [failed.path for failed in report.failed] == [longer, known.path]
    assert set(read(tmp_path / "vectors.npz")["paths"].tolist()) == {str(path) for path in files}


def test_where_nothing_can_be_used_nothing_is_written(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    report = embed_scenes(encoder, [tmp_path / "text.wav"], tmp_path / "vectors.npz")
    assert (report.vectors, len(report.failed)) == (0, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["text.wav"]


def test_an_interruption_leaves_the_older_file(encoder: Encoder, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "vectors.npz").write_text("old")

    def interrupted() -> Iterator[Path]:
        yield files[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_scenes(encoder, interrupted(), tmp_path / "vectors.npz")
    assert (tmp_path / "vectors.npz").read_text() == "old"
    assert not list(tmp_path.glob(".vectors*"))


def test_an_older_file_is_replaced_whole(encoder: Encoder, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "vectors.npz").write_text("old")
    embed_scenes(encoder, files[:1], tmp_path / "vectors.npz")
    assert read(tmp_path / "vectors.npz")["vectors"].shape == (1, 16)
