"""eval/ingredients.py and eval/ingredients_over_steps.py on a tiny corpus."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmret.errors import MmretError, ModelFormatError
from tests.eval.conftest import SCRIPTS

pytest.importorskip("sklearn", reason="the probe needs scikit-learn")
torch = pytest.importorskip("torch", reason="M2D runs on torch")
# the tiny corpus is full of ties on purpose
pytestmark = pytest.mark.filterwarnings("ignore:hit@1 is")
SIZES = {"input_size": (80, 64), "embed_dim": 16, "depth": 1, "num_heads": 2}


@pytest.fixture
def ingredients(script, encoder, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = script("ingredients")
    monkeypatch.setattr(module, "log_mel_features", lambda clips: np.eye(len(clips), 3, dtype=np.float32))
    return module


@pytest.fixture
def run(ingredients, esc50, tmp_path):
    def evaluate(*arguments: str) -> dict[str, dict]:
        out = tmp_path / "results"
        ingredients.main(["--data", str(esc50), "--out-dir", str(out), *arguments])
        return {path.stem: json.loads(path.read_text()) for path in sorted(out.glob("*.json"))}

    return evaluate


@pytest.fixture
def m2d(tmp_path) -> Path:
    """Output of train/m2d.py: two checkpoints and a model."""
    from safetensors.torch import save_file

    from mmret.models import M2DConfig, M2DForPreTraining

    model = M2DForPreTraining(M2DConfig(decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2, **SIZES))
    model.save_pretrained(tmp_path / "run" / "model")
    for step in (5, 10):
        folder = tmp_path / "run" / f"step-{step:08d}"
        folder.mkdir()
        tensors = {f"model.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
        save_file(tensors, folder / "model.safetensors")
    return tmp_path / "run"


def test_an_encoder_with_text_gets_all_figures(run) -> None:
    row = run("--row", "ours", "any")["ingredient_2"]
    assert row["protocol"]["label"] == "ours"
    assert row["metrics"]["zero_shot_accuracy"] == row["metrics"]["probe_accuracy"] == 0.875
    assert row["metrics"].keys() == {"probe_accuracy", "probe_strength", "zero_shot_accuracy", "t2a_map@10_min"}
    assert row["sizes"] == {"train": 24, "A": 8, "dim": 4}


def test_rows_without_text_have_a_probe_alone(run, encoder, m2d, monkeypatch) -> None:
    def refuse(texts):
        raise ModelFormatError("reads no text")

    monkeypatch.setattr(encoder, "encode_text", refuse)
    rows = run("--m2d", str(m2d / "model"))
    assert [row["protocol"]["label"] for row in rows.values()] == [
        "log-mel mean",
        "random M2D encoder",
        "M2D pre-training",
    ]
    assert all(row["metrics"].keys() == {"probe_accuracy", "probe_strength"} for row in rows.values())
    assert rows["ingredient_1"]["sizes"]["dim"] == 3


def test_one_row_can_be_evaluated_alone(run) -> None:
    assert list(run("--row", "first", "any", "--row", "second", "any", "--only", "3")) == ["ingredient_3"]


def test_the_random_encoder_differs_from_the_trained_one_in_its_weights(ingredients, m2d, monkeypatch) -> None:
    from mmret.models import M2DModel

    seen = {}
    monkeypatch.setattr(
        ingredients, "encoder_row", lambda name, clips: seen.update(M2DModel.from_pretrained(name).state_dict())
    )
    ingredients.random_row(str(m2d / "model"), [])
    trained = M2DModel.from_pretrained(m2d / "model").state_dict()
    assert torch.equal(seen["norm_stats"], trained["norm_stats"])
    assert not torch.equal(seen["blocks.0.attn.qkv.weight"], trained["blocks.0.attn.qkv.weight"])


def test_the_table_shows_a_row_a_file(run, script, tmp_path) -> None:
    run("--row", "ours", "any")
    page = tmp_path / "results.md"
    script("tables").main(
        ["--results", str(tmp_path / "results"), "--page", str(page), "--card", str(tmp_path / "card.md")]
    )
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    assert lines[-2].startswith("| log-mel mean | 3 | ") and lines[-2].endswith(" |  |  |")
    assert lines[-1].startswith("| ours | 4 | 87.5 [")


def test_every_checkpoint_is_probed(ingredients, script, m2d, esc50, tmp_path) -> None:
    out = tmp_path / "logs" / "probe.jsonl"
    script("ingredients_over_steps").main(["--data", str(esc50), "--run", str(m2d), "--out", str(out), "--every", "10"])
    points = [json.loads(line) for line in out.read_text().splitlines()]
    assert points == [{"step": 0, "accuracy": 0.875}, {"step": 10, "accuracy": 0.875}]


def test_a_checkpoint_of_something_else_is_refused(ingredients, script, m2d) -> None:
    from safetensors.torch import save_file

    save_file({"model.other": torch.zeros(1)}, m2d / "step-00000005" / "model.safetensors")
    with pytest.raises(MmretError, match="is no checkpoint of"):
        list(script("ingredients_over_steps").models(m2d))
