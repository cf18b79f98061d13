"""Sentences made from labels."""

from __future__ import annotations

import pytest

from mmret.metrics.prompts import caption, class_prompts, evar_caption


def test_underscores_become_blanks() -> None:
    assert caption("vacuum_cleaner") == "vacuum cleaner can be heard"


def test_a_label_with_braces_is_only_a_label() -> None:
    assert caption("{label}", "bare") == "{label}"


def test_a_prompt_without_a_place_for_the_label_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lacks \{label\}"):
        caption("dog", "a sound")


@pytest.mark.parametrize("emotion", ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"])
def test_emotions_are_spelt_out(emotion: str) -> None:
    assert emotion not in evar_caption(emotion, "cremad")


def test_every_class_gets_every_template() -> None:
    assert class_prompts(["dog", "cat"], ["bare", "{label} {label}"]) == [["dog", "dog dog"], ["cat", "cat cat"]]
