"""eval/zero_shot.py on a tiny corpus with one clip that sounds wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmret.errors import MmretError

# the tiny corpus is full of ties on purpose
pytestmark = pytest.mark.filterwarnings("ignore:hit@1 is")


@pytest.fixture
def run(script, encoder, esc50, tmp_path, capsys):
    def evaluate(*arguments: str) -> dict:
        out = tmp_path / "result.json"
        script("zero_shot").main(["--data", str(esc50), "--out", str(out), *arguments])
        assert str(out) in capsys.readouterr().out
        return json.loads(out.read_text())

    return evaluate


def test_accuracy_counts_the_clip_that_sounds_wrong(run) -> None:
    result = run("--folds", "4")
    assert result["metrics"]["acc_pooled"] == 0.875
    assert result["per_class"] == {"0": 1.0, "1": 1.0, "2": 0.5, "3": 1.0}
    low, high = result["intervals"]["acc_pooled"]
    assert low < 0.875 < high


def test_search_ranks_the_wrong_clip_first_among_equals_and_the_right_one_last(run) -> None:
    metrics = run("--folds", "4")["metrics"]
    # rain: three clips at cosine 1, the wrong one first: (1/2 + 2/3) / 2; siren: ranks 1 and 8 (worst ties)
    assert metrics["t2a_map@10_min"] == pytest.approx((1 + (1 / 2 + 2 / 3) / 2 + (1 + 2 / 8) / 2 + 1) / 4, abs=1e-6)


def test_result_holds_protocol_sizes_prompts_model_and_versions(run) -> None:
    result = run("--folds", "3", "4", "--prompt", "the sound of {label}", "--label", "ours")
    assert result["protocol"] == {
        "name": "zero_shot",
        "label": "ours",
        "data": "esc50",
        "folds": [3, 4],
        "templates": ["the sound of {label}"],
        "ties": "worst",
    }
    assert result["sizes"] == {"A": 16, "T": 4}
    assert result["prompts"][3] == ["the sound of keyboard typing"]
    assert result["model"]["fingerprint"] == "f00d"
    assert {"python", "numpy"} <= result["versions"].keys()


def test_the_same_run_writes_the_same_bytes(run, tmp_path: Path) -> None:
    run()
    first = (tmp_path / "result.json").read_bytes()
    run()
    assert (tmp_path / "result.json").read_bytes() == first


def test_a_subset_of_classes_is_told_apart_among_itself(run) -> None:
    subset = run("--folds", "4", "--classes", "siren", "dog")["subset"]
    assert (subset["targets"], subset["sizes"]) == ([0, 2], {"A": 4, "T": 2})
    # heard as rain, a siren ties between dog and siren, and the lowest class wins
    assert (subset["acc_among_subset"], subset["acc_among_all"]) == (0.75, 0.75)


def test_a_subset_can_be_named_by_remainder(run) -> None:
    assert run("--target-mod", "2", "1")["subset"]["targets"] == [1, 3]


def test_an_unknown_class_ends_the_run_with_the_known_ones(run) -> None:
    with pytest.raises(MmretError, match="no class is called cat; there are: dog, rain"):
        run("--classes", "cat")


def test_several_prompts_are_averaged_and_their_nearest_reported(run) -> None:
    metrics = run("--prompt", "{label}", "--prompt", "the sound of {label}")["metrics"]
    assert metrics["acc_max_prompt"] == metrics["acc_pooled"] == 31 / 32
