"""The AudioSet tagger that teaches mmret-mini."""

from __future__ import annotations

import numpy as np
import pytest

from mmret.data.tagger import AudioSetTagger
from mmret.errors import DataLayoutError
from tests.conftest import SHARED
from tests.data.tiny_tagger import CLASSES, EMBEDDING, write_tagger

SECOND = 32_000


def test_a_folder_without_the_tagger_says_what_is_missing(tmp_path):
    (tmp_path / "classes.csv").write_text("index,mid,display_name\n")
    with pytest.raises(DataLayoutError, match=r"mn04_as\.onnx, frontend\.npz"):
        AudioSetTagger(tmp_path)


def test_tags_have_a_map_whose_mean_is_the_embedding(tmp_path):
    tagger = AudioSetTagger(write_tagger(tmp_path))
    waves = np.random.default_rng(0).standard_normal((3, 2 * SECOND)).astype(np.float32)
    tags = tagger(list(waves))
    assert tags.logits.shape == (3, len(CLASSES))
    assert tags.map.shape == (3, 7, EMBEDDING)
    np.testing.assert_allclose(tags.map.mean(axis=1), tags.embedding, atol=1e-5)


def test_a_clip_under_a_second_is_heard_as_if_silence_followed(tmp_path):
    tagger = AudioSetTagger(write_tagger(tmp_path))
    short = np.random.default_rng(0).standard_normal(SECOND // 4).astype(np.float32)
    padded = np.pad(short, (0, SECOND - len(short)))
    np.testing.assert_array_equal(tagger([short]).logits, tagger([padded]).logits)


def test_the_real_tagger_gives_its_published_outputs():
    folder = SHARED / "models" / "mn04"
    if not folder.is_dir():
        pytest.skip(f"no tagger at {folder}")
    tagger = AudioSetTagger(folder)
    with np.load(folder / "fixture.npz") as fixture:
        for i in range(3):
            wave = fixture[f"wave32k_{i}"]
            # float64 in our FFT, float32 in the reference's
            np.testing.assert_allclose(tagger.log_mel(wave), fixture[f"logmel_{i}"], atol=2e-3)
            np.testing.assert_allclose(tagger([wave]).logits[0], fixture[f"logits_{i}"], atol=5e-3)
