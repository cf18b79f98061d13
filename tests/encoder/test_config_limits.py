"""A config.json that asks for thousands of layers is refused before anything is built."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from mmret.encoder import Encoder
from mmret.encoder.config_limits import MAX_CONFIG_BYTES, MAX_LAYERS, check_layers
from mmret.errors import ModelFormatError


@pytest.mark.parametrize(
    ("model", "tower", "key", "number"),
    [
        ("conv_folder", "text_config", "num_hidden_layers", 10**9),
        ("clap_folder", "text_config", "num_hidden_layers", 10**9),
        ("clap_folder", "audio_config", "depths", [10**9, 2]),
        ("m2d_folder", "text_config", "num_hidden_layers", 10**9),
        ("m2d_folder", "audio_config", "depth", 10**9),
    ],
)
def test_a_billion_layers_are_refused_at_once(request, tmp_path, model, tower, key, number):
    folder = shutil.copytree(request.getfixturevalue(model), tmp_path / "deep")
    facts = json.loads((folder / "config.json").read_text())
    facts[tower][key] = number
    (folder / "config.json").write_text(json.dumps(facts))
    started_s = time.perf_counter()
    with pytest.raises(ModelFormatError, match=r"1e\+09|1000000000"):
        Encoder.from_pretrained(folder, runtime="torch")
    assert time.perf_counter() - started_s < 5


def test_a_huge_config_is_refused_unread(conv_folder, tmp_path):
    folder = shutil.copytree(conv_folder, tmp_path / "large")
    (folder / "config.json").write_bytes(b" " * (MAX_CONFIG_BYTES + 1))
    with pytest.raises(ModelFormatError, match="larger than"):
        Encoder.from_pretrained(folder, runtime="torch")


@pytest.mark.parametrize("facts", [{"depths": [1] * 600}, {"a": {"b": {"num_layers": MAX_LAYERS + 1}}}, {"depth": 1e9}])
def test_layers_are_counted_at_every_depth_of_a_configuration(facts):
    with pytest.raises(ModelFormatError, match="tiny asks for"):
        check_layers("tiny", facts)
    check_layers("tiny", {"depths": [1] * 12, "num_hidden_layers": MAX_LAYERS, "layer_norm_eps": 1e6, "depth": None})
