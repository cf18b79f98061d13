"""The light runtime: no torch, and only the bytes that the manifest lists."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mmret import Encoder
from mmret.encoder.manifest import AUDIO_GRAPH, FILE_NAME, TEXT_GRAPH, TOKENIZER, WEIGHTS, file_digest
from mmret.encoder.onnx_towers import OnnxTowers
from mmret.encoder.torch_towers import load_towers
from mmret.errors import ModelFormatError
from tests.encoder import tiny_models
from tests.encoder.tiny_models import SENTENCES, sound

LIGHT = """
import sys
import numpy as np
from mmret import Encoder
encoder = Encoder.from_pretrained(sys.argv[1])
encoder.encode_text(["rain"]), encoder.encode_audio([np.ones(16_000, np.float32)])
heavy = {"torch", "transformers", "onnx", "safetensors"} & set(sys.modules)
sys.exit(f"loaded {heavy}" if heavy else encoder.runtime != "onnx")
"""


@pytest.fixture
def folder(exported_conv, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(exported_conv, tmp_path / "tiny"))


def use(folder: Path, runtime: str = "onnx") -> None:
    encoder = Encoder.from_pretrained(folder, runtime=runtime)
    encoder.encode_audio([sound(1, 16_000)])
    encoder.encode_text(["rain"])


def test_nothing_heavy_is_loaded(exported_conv):
    subprocess.run([sys.executable, "-c", LIGHT, str(exported_conv)], check=True)


def test_sentences_of_several_lengths_in_one_batch_equal_torch(exported_conv):
    light, heavy = OnnxTowers(exported_conv), load_towers("tiny", exported_conv)
    np.testing.assert_allclose(light.text(SENTENCES), heavy.text(SENTENCES), atol=1e-4)
    np.testing.assert_allclose(light.text(SENTENCES)[:1], light.text(SENTENCES[:1]), atol=1e-5)


def test_a_sentence_without_a_known_word_is_told_apart_on_every_runtime(exported_conv):
    for runtime in ("onnx", "torch"):
        encoder = Encoder.from_pretrained(exported_conv, runtime=runtime)
        told = [encoder.knows(words) for words in ("a dog", "a zebra", "zebra", "unheard of", "猫", "zebra " * 1000)]
        assert told == [True, True, False, False, False, False], runtime


def test_for_one_sentence_the_graph_as_it_is_gives_the_same_vector(exported_conv, monkeypatch):
    opened = []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda path, options, **more: opened.append(options) or session(path, options)
    )
    usual, hurried = (
        Encoder.from_pretrained(exported_conv, one_sentence=one).encode_text(["a dog barks"]) for one in (False, True)
    )
    assert np.abs(hurried - usual).max() <= 1e-6
    levels = [options.graph_optimization_level for options in opened]
    assert levels[1] == onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL != levels[0]


@pytest.mark.parametrize("name", [AUDIO_GRAPH, TEXT_GRAPH, WEIGHTS, TOKENIZER])
def test_a_tampered_or_missing_file_is_refused_by_name(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelFormatError, match=rf"{name} is missing or is not the file"):
        use(folder)
    (folder / name).unlink()
    with pytest.raises(ModelFormatError, match=rf"{name} is missing or is not the file"):
        use(folder)


def test_tampered_weights_are_refused_by_torch_too(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelFormatError, match="is not the file"):
        use(folder, runtime="torch")


def relist(folder: Path, name: str) -> None:
    """Make the manifest agree with a changed file."""
    facts = json.loads((folder / FILE_NAME).read_text())
    digest = file_digest(folder / name)
    facts["files"][name] = {"sha256": digest.sha256, "bytes": digest.bytes}
    (folder / FILE_NAME).write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("name", "words"),
    [(AUDIO_GRAPH, "cannot be opened by onnxruntime"), (TEXT_GRAPH, "cannot be opened"), (TOKENIZER, "no tokenizer")],
)
def test_a_listed_file_of_another_kind_is_refused(folder, name, words):
    (folder / name).write_bytes(b"{}")
    relist(folder, name)
    with pytest.raises(ModelFormatError, match=words):
        use(folder)


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize("name", ["../secret.onnx", "/etc/passwd"])
def test_a_manifest_that_points_outside_is_refused(folder, runtime, name):
    files = json.loads((folder / FILE_NAME).read_text())["files"]
    tiny_models.edit_json(folder / FILE_NAME, files=files | {name: files[AUDIO_GRAPH]})
    with pytest.raises(ModelFormatError, match="outside the folder"):
        Encoder.from_pretrained(folder, runtime=runtime)


def test_weights_outside_the_folder_are_not_read(folder):
    content = (folder / AUDIO_GRAPH).read_bytes()
    outside = b"../elsewhere.tensor"[: len(WEIGHTS)].ljust(len(WEIGHTS), b"s")
    (folder.parent / outside.decode()[3:]).write_bytes((folder / WEIGHTS).read_bytes())
    (folder / AUDIO_GRAPH).write_bytes(content.replace(WEIGHTS.encode(), outside))
    relist(folder, AUDIO_GRAPH)
    with pytest.raises(ModelFormatError, match="cannot be opened by onnxruntime"):
        use(folder)


def test_a_manifest_with_another_width_is_caught_at_the_first_vector(folder):
    tiny_models.edit_json(folder / FILE_NAME, dim=17)
    with pytest.raises(ModelFormatError, match=r"shape \(2, 16\)"):
        Encoder.from_pretrained(folder).encode_audio([sound(1, 16_000)])


def test_an_exported_folder_without_text_tower_says_so(folder):
    files = json.loads((folder / FILE_NAME).read_text())["files"]
    tiny_models.edit_json(folder / FILE_NAME, files={name: files[name] for name in (WEIGHTS, AUDIO_GRAPH)})
    encoder = Encoder.from_pretrained(folder)
    assert encoder.encode_audio([sound(1, 16_000)]).shape == (1, 16)
    with pytest.raises(ModelFormatError, match="reads no text"):
        encoder.encode_text(["rain"])
