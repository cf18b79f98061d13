"""Linear heads: what they compute, how they are stored, and how damaged files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmret.errors import ModelFormatError
from mmret.heads.linear import LinearHead, one_hot, probabilities, standardiser


def head(**changes: object) -> LinearHead:
    facts = {"mean": [1.0, 2.0], "scale": [2.0, 4.0], "weight": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], "bias": [0, 0, 1]}
    arrays = {name: np.array(values, np.float32) for name, values in (facts | changes).items()}
    return LinearHead(**arrays)


def test_logits_are_of_standardised_vectors() -> None:
    np.testing.assert_allclose(head().logits(np.array([[3.0, 10.0]], np.float32)), [[1.0, 2.0, 4.0]])


@pytest.mark.parametrize("multi_label", [False, True])
def test_probabilities_of_extreme_logits_are_numbers(multi_label: bool) -> None:
    logits = np.array([[1000.0, -1000.0, 0.0]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        found = probabilities(logits, multi_label=multi_label)
    np.testing.assert_allclose(found, [[1.0, 0.0, 0.5 if multi_label else 0.0]])


def test_a_feature_that_never_changes_is_left_alone() -> None:
    vectors = np.array([[0.1, 1.0], [0.1, 3.0]], np.float32)
    mean, scale = standardiser(vectors)
    np.testing.assert_allclose(mean, [0.1, 2.0])
    np.testing.assert_allclose(scale, [1.0, 1.0])


def test_one_hot_rows() -> None:
    assert one_hot([1, 0], 3).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_a_stored_head_is_the_same_head(tmp_path: Path) -> None:
    head().save(tmp_path / "head.npz")
    opened = LinearHead.load(tmp_path / "head.npz")
    assert opened.dim == 2
    vectors = np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)
    np.testing.assert_array_equal(opened.logits(vectors), head().logits(vectors))


@pytest.mark.parametrize("changes", [{"bias": [0.0]}, {"mean": [0.0]}, {"scale": [0.0, 1.0]}, {"weight": [np.nan, 1]}])
def test_arrays_that_do_not_go_together_are_refused(changes: dict[str, object], tmp_path: Path) -> None:
    head(**changes).save(tmp_path / "head.npz")
    with pytest.raises(ModelFormatError, match="train it again"):
        LinearHead.load(tmp_path / "head.npz")


def test_a_file_that_would_unpack_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head().save(tmp_path / "head.npz")
    monkeypatch.setattr("mmret.heads.linear.MAX_BYTES", 100)
    with pytest.raises(ModelFormatError, match="larger than 100 bytes"):
        LinearHead.load(tmp_path / "head.npz")


@settings(max_examples=50, deadline=None)
@given(cut=st.integers(0, 900), flip=st.integers(0, 255))
def test_damage_is_refused_or_changes_no_shape(cut: int, flip: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("head") / "head.npz"
    head().save(path)
    data = bytearray(path.read_bytes())
    place = cut % len(data)
    data[place] ^= flip
    path.write_bytes(data if flip else data[:place])
    try:
        assert LinearHead.load(path).weight.shape == (3, 2)
    except ModelFormatError as error:
        assert str(path) in str(error)
