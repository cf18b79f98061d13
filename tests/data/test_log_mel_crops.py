"""Stored log-mels become the same batches for the same seed, epoch and samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmret.data.crops import crop_or_pad, draw_start
from mmret.data.log_mel_crops import CaptionedCrops, LogMelCrops, mean_and_std, measure_statistics
from mmret.data.log_mel_folder import open_log_mels, read_statistics, write_list, write_statistics
from mmret.errors import DataLayoutError
from mmret.training import sample_generator


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three log-mels of 40, 50 and 20 frames that count their frames."""
    for name, frames in (("a", 40), ("b", 50), ("c", 20)):
        np.save(tmp_path / f"{name}.npy", np.tile(np.arange(1.0, frames + 1), (1, 80, 1)).astype(np.float32))
    write_list(tmp_path, ["a.npy", "b.npy", "c.npy"])
    return tmp_path


def crops_of(folder: Path) -> LogMelCrops:
    """Crops of 30 frames with mean 1 and deviation 2."""
    return LogMelCrops(open_log_mels(folder), 30, (1.0, 2.0), sample_generator)


def test_crops_are_contiguous_normalised_and_padded_before_normalisation(folder: Path) -> None:
    log_mel = crops_of(folder).batch([0, 1, 2], epoch=0, seed=0)["log_mel"]
    assert log_mel.shape == (3, 1, 80, 30)
    frames = log_mel[:, 0, 0] * 2 + 1
    assert torch.equal(frames[0].diff(), torch.ones(29))
    assert frames[2, 20:].tolist() == [0.0] * 10


def test_batches_depend_on_seed_epoch_and_samples_alone(folder: Path) -> None:
    crops = crops_of(folder)
    again = crops_of(folder).batch([1, 0], epoch=3, seed=5)["log_mel"]
    assert torch.equal(crops.batch([0, 1], epoch=3, seed=5)["log_mel"], again.flip(0))
    starts = {float(crops.batch([1], epoch, 5)["log_mel"][0, 0, 0, 0]) for epoch in range(20)}
    assert len(starts) > 5


def test_last_start_is_left_out() -> None:
    generator = np.random.default_rng(0)
    assert {draw_start(33, 30, generator) for _ in range(200)} == {0, 1, 2}
    assert draw_start(30, 30, generator) == draw_start(7, 30, generator) == 0


def test_captions_are_drawn_anew_at_each_visit(folder: Path) -> None:
    vectors = {"a": np.array([[1.0, 0.0], [2.0, 0.0]]), "b.npy": np.array([3.0, 0.0]), "c": np.array([[4.0, 0.0]])}
    more = {"a": np.array([[5.0, 0.0]])}
    data = CaptionedCrops(crops_of(folder), [vectors, more], sample_generator)
    drawn = [data.batch([0, 1, 2], epoch, 0)["text"][:, 0].tolist() for epoch in range(40)]
    assert {row[0] for row in drawn} == {1.0, 2.0, 5.0}
    assert {tuple(row[1:]) for row in drawn} == {(3.0, 4.0)}
    assert (data.dim, len(data)) == (2, 3)


def test_recording_without_a_vector_is_named(folder: Path) -> None:
    with pytest.raises(DataLayoutError, match=r"no sentence vector for b\.npy"):
        CaptionedCrops(crops_of(folder), [{"a": np.ones((1, 2))}], sample_generator)


def test_memory_map_rows_are_named_by_the_list(tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", np.zeros((2, 80, 9), np.float16))
    assert list(open_log_mels(tmp_path).names) == ["0", "1"]
    write_list(tmp_path, ['x "1".wav', "y.wav"])
    assert list(open_log_mels(tmp_path).names) == ['x "1".wav', "y.wav"]
    write_list(tmp_path, ["x.wav"])
    with pytest.raises(DataLayoutError, match="does not go with 1 names"):
        open_log_mels(tmp_path)


def test_folder_without_log_mels_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(DataLayoutError, match="prepare_log_mels"):
        open_log_mels(tmp_path)


def test_damaged_file_is_named(folder: Path) -> None:
    (folder / "b.npy").write_bytes(b"not numpy")
    with pytest.raises(DataLayoutError, match=r"b\.npy"):
        crops_of(folder).batch([1], 0, 0)


def test_statistics_come_back(tmp_path: Path) -> None:
    assert read_statistics(tmp_path) is None
    write_statistics(tmp_path, -7.5, 4.25)
    assert read_statistics(tmp_path) == (-7.5, 4.25)


def test_statistics_are_those_of_all_crops_together(folder: Path) -> None:
    measured = measure_statistics(open_log_mels(folder), 30, np.random.default_rng(3), crops=50)
    generator, drawn = np.random.default_rng(3), []
    log_mels = open_log_mels(folder)
    for index in generator.integers(3, size=50):
        log_mel = log_mels[int(index)]
        drawn.append(crop_or_pad(log_mel, 30, draw_start(log_mel.shape[-1], 30, generator)))
    np.testing.assert_allclose(measured, mean_and_std(np.stack(drawn)), rtol=1e-6)
