"""Zero-shot classification and its prompts against reference numbers, by name pattern zero_shot*."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmret.metrics import prompts, zero_shot
from tests.conftest import parity_files

RTOL = 1e-8
FILES = parity_files("metrics", "zero_shot*.npz")
PROMPT_FILES = parity_files("metrics", "zero_shot_prompts*.json")
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@each_file
def test_prototypes_and_similarities_equal_reference(path: Path) -> None:
    numbers = np.load(path)
    prototypes = zero_shot.prototypes(numbers["class_text"])
    np.testing.assert_allclose(prototypes, numbers["prototypes"], rtol=RTOL)
    similarity = zero_shot.similarities(numbers["audio"], prototypes)
    np.testing.assert_allclose(similarity, numbers["similarity"], rtol=RTOL, atol=1e-12)
    scale = next(int(name.removeprefix("softmax_scale")) for name in numbers.files if name.startswith("softmax_scale"))
    expected = numbers[f"softmax_scale{scale}"]
    np.testing.assert_allclose(zero_shot.probabilities(similarity, scale=scale), expected, rtol=RTOL)


@each_file
def test_accuracies_of_the_prompt_ensemble_equal_reference(path: Path) -> None:
    numbers = np.load(path)
    similarity = zero_shot.similarities(numbers["audio"], zero_shot.prototypes(numbers["class_text"]))
    np.testing.assert_array_equal(zero_shot.predict(similarity), numbers["pred"])
    got = zero_shot.accuracy(similarity, numbers["labels"], numbers["folds"])
    assert got.pooled == pytest.approx(float(numbers["acc_pooled"]), rel=RTOL)
    assert list(got.per_fold.values()) == pytest.approx(numbers["acc_per_fold"].tolist(), rel=RTOL)
    assert got.fold_mean == pytest.approx(float(numbers["acc_fold_mean"]), rel=RTOL)
    assert got.class_mean == pytest.approx(float(numbers["acc_class_mean"]), rel=RTOL)


@each_file
def test_single_and_nearest_prompt_equal_reference(path: Path) -> None:
    numbers = np.load(path)
    audio, text, labels = numbers["audio"], numbers["class_text"], numbers["labels"]
    single = zero_shot.similarities(audio, zero_shot.prototypes(text[:, :1]))
    nearest = zero_shot.max_prompt_similarities(audio, text)
    for similarity, name in ((single, "single_prompt"), (nearest, "max_prompt")):
        np.testing.assert_array_equal(zero_shot.predict(similarity), numbers[f"pred_{name}"])
        expected = float(numbers[f"acc_{name}"])
        assert zero_shot.accuracy(similarity, labels).pooled == pytest.approx(expected, rel=RTOL)


@each_file
def test_multi_label_average_precision_equals_reference(path: Path) -> None:
    numbers = np.load(path)
    similarity = zero_shot.similarities(numbers["audio"], zero_shot.prototypes(numbers["class_text"]))
    got = zero_shot.multi_label_average_precision(similarity, numbers["multi_labels"])
    assert list(got.per_class.values()) == pytest.approx(numbers["multi_ap_per_class"].tolist(), rel=RTOL)
    assert got.macro == pytest.approx(float(numbers["multi_map"]), rel=RTOL)


@pytest.mark.parametrize("path", PROMPT_FILES, ids=lambda path: path.stem)
def test_prompts_equal_reference(path: Path) -> None:
    numbers = json.loads(path.read_text())
    for task, pairs in numbers["evar"].items():
        assert [prompts.evar_caption(label, task) for label, _ in pairs] == [text for _, text in pairs]
    for name, pairs in numbers["templates"].items():
        assert [prompts.caption(label, name) for label, _ in pairs] == [text for _, text in pairs]
