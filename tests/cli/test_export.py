"""export: a folder for both runtimes, written whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from mmret.cli.index import RuntimeName
from mmret.encoder import Encoder
from mmret.encoder.encoder import PRETRAINED, RUNTIMES
from mmret.encoder.exportable import check_export
from mmret.errors import MissingExtra, ModelFormatError
from mmret.models.conv_clap import ConvClapConfig, ConvClapModel
from tests.tasks.fake_encoder import tone

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny audio tower with random weights."""
    sizes = {"frame_dim": 8, "teacher_dim": 8, "num_tags": 6, "tag_hidden_dim": 8, "head_hidden_dim": 8}
    config = ConvClapConfig(channels=(4, 4, 4, 4, 4), projection_dim=16, top_tags=3, **sizes)
    tiny = ConvClapModel(config).eval()
    rows = np.random.Generator(np.random.PCG64(0)).standard_normal((6, 16)).astype(np.float32)
    tiny.tag_vectors.copy_(tiny.tag_vectors.new_tensor(rows / np.linalg.norm(rows, axis=1, keepdims=True)))
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny.save_pretrained(folder)
    return folder


def test_an_exported_folder_gives_the_same_vectors_on_both_runtimes(model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mmret.cli", "export", str(model), str(tmp_path / "out"), "--name", "tiny-onnx"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"--model {tmp_path / 'out'}" in ended.stdout
    waveform = np.resize(tone(440, 3.0), 16_000)
    by_onnx, by_torch = (Encoder.from_pretrained(tmp_path / "out", runtime=runtime) for runtime in ("onnx", "torch"))
    assert (by_onnx.name, by_onnx.runtime, by_torch.runtime) == ("tiny-onnx", "onnx", "torch")
    assert by_onnx.fingerprint == by_torch.fingerprint
    np.testing.assert_allclose(by_onnx.encode_audio([waveform]), by_torch.encode_audio([waveform]), atol=1e-4)


def test_json_names_the_folder(run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmret.encoder.export.export_folder", lambda model, out, *, name, precision: out)
    result = run("export", model, tmp_path / "out", "--json")
    assert json.loads(result.stdout) == {"model": str(tmp_path / "out")}


@pytest.mark.parametrize(("arguments", "precision"), [((), "fp32"), (("--precision", "int8"), "int8")])
def test_precision_is_passed_on(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], precision: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "mmret.encoder.export.export_folder", lambda model, out, *, name, precision: asked.append(precision) or out
    )
    result = run("export", model, "out", *arguments)
    assert (result.exit_code, asked) == (0, [precision])


def test_runtimes_of_the_command_are_those_of_the_encoder() -> None:
    assert tuple(RuntimeName) == RUNTIMES


def test_what_is_no_model_folder_is_refused_without_a_network(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nothing known"}')
    for wrong in (tmp_path / "missing", tmp_path):
        result = run("export", wrong, tmp_path / "out")
        assert isinstance(result.exception, ModelFormatError), result.exception
        assert str(wrong) in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_not_touched(run: Run, model: Path, tmp_path: Path) -> None:
    result = run("export", model, tmp_path)
    assert isinstance(result.exception, ModelFormatError)
    assert "exists" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_light_installation_is_told_what_to_install(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = run("export", model, model.parent / "out")
    assert isinstance(result.exception, MissingExtra)
    assert 'pip install "mmret[models]"' in str(result.exception)


def test_a_shipped_model_is_exported_by_its_name(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "mmret.encoder.export.export_folder", lambda model, out, *, name, precision: asked.append(model) or out
    )
    assert run("export", "mmret-mini", tmp_path / "out").exit_code == 0
    assert asked == ["mmret-mini"]
    assert check_export("mmret-mini", tmp_path / "out", "int8") == PRETRAINED / "mmret-mini"
    assert check_export("someone/their-clap", tmp_path / "out", "fp32") is None


def test_an_int8_folder_is_told_apart_and_torch_not_loaded_for_that(tmp_path: Path) -> None:
    (tmp_path / "int8").mkdir()
    facts = json.loads((PRETRAINED / "mmret-mini" / "mmret.json").read_text(encoding="utf-8"))
    (tmp_path / "int8" / "mmret.json").write_text(json.dumps(facts | {"precision": "int8"}), encoding="utf-8")
    code = (
        "import atexit, sys\natexit.register(lambda: print('torch' in sys.modules))\nfrom mmret.cli import main\nmain()"
    )
    command = [sys.executable, "-c", code, "export", str(tmp_path / "int8"), str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (3, "False\n")
    assert "is int8 already and has no fp32 weights to export" in ended.stderr
