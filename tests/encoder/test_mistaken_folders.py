"""What is told of folders that lie near a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmret.encoder import Encoder
from mmret.errors import ModelFormatError
from mmret.heads import LinearHead
from mmret.tasks.classifier import Facts, save_head

pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        (["model/config.json"], ".", r"is a run; its model is .*/model: give that"),
        (
            ["step-00000153/state.json", "model/config.json"],
            "step-00000153",
            r"is a checkpoint of a run; its model is [^:]*/model: give that",
        ),
        (["step-00000153/state.json", "latest"], ".", "is a stopped run, and no model yet; go on with the run first"),
        (["step-00000153/state.json"], "step-00000153", "is a checkpoint of a stopped run, and no model yet"),
        (["notes.txt"], ".", "cannot be loaded: it holds no config.json, so it is no model folder"),
    ],
)
def test_a_run_is_told_from_a_model(tmp_path: Path, files: list[str], given: str, message: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    with pytest.raises(ModelFormatError, match=message):
        Encoder.from_pretrained(tmp_path / given)


def test_the_encoder_of_a_head_is_named(tmp_path: Path) -> None:
    head = LinearHead(*(np.ones(shape, np.float32) for shape in (3, 3, (2, 3), 2)))
    save_head(tmp_path / "own", head, Facts("head", ["a", "b"], {"model": "mmret-mini", "fingerprint": "x"}, 0.0, {}))
    with pytest.raises(ModelFormatError, match="is a classifier, for mmret classify; its encoder is mmret-mini"):
        Encoder.from_pretrained(tmp_path / "own")
    (tmp_path / "own" / "classifier.json").write_text("[")
    with pytest.raises(ModelFormatError, match=r"its encoder is named in .*classifier\.json"):
        Encoder.from_pretrained(tmp_path / "own")
