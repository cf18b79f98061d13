"""Two steps of every recipe with every configuration, at the sizes of the configuration but for width and depth."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, HubertConfig, HubertModel

import mmret.models
from mmret.data.log_mel_folder import MAP_NAME, write_list, write_statistics
from mmret.errors import ModelFormatError, TrainingError
from mmret.models import M2DConfig, M2DForPreTraining, M2DModel
from mmret.models.m2d_vit import Block
from mmret.training import read_log
from mmret.training.config import read_settings
from tests.conftest import ROOT
from tests.train.test_pretraining_recipes import TINY, tiny

CONFIGS = ROOT / "train" / "configs"
CLIPS = 6
HUBERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
Train = Callable[..., Path]

# every configuration of the family, by the recipe that it is for
RECIPES = {
    "m2d.py": ["m2d", "m2d_06", "m2d_40ms", "m2d_mini", "msm_mae"],
    "m2d_clap.py": ["m2d_clap", "m2d_clap_mini"],
    "m2d_x.py": ["m2d_as", "m2d_as_32k", "m2d_resp", "m2d_x_further", "m2d_x_icbhi", "m2d_x_mini", "m2d_x_sprsound"],
    "m2d_s.py": ["m2d_s", "m2d_s_400", "m2d_s_40ms", "m2d_s_512", "m2d_s_mini"],
}


def write_map(folder: Path, frames: int = 220) -> Path:
    """A folder with a map of random log-mels."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    np.save(folder / MAP_NAME, (generator.standard_normal((CLIPS, 80, frames)) - 8).astype(np.float16))
    write_list(folder, [f"{number}.wav" for number in range(CLIPS)])
    write_statistics(folder, -8.0, 1.0)
    return folder


def write_speech(folder: Path, frames: int = 700) -> Path:
    """What train/speech_features.py leaves behind."""
    (folder / "features").mkdir(parents=True)
    generator, names = np.random.default_rng(0), [f"{number}.npy" for number in range(CLIPS)]
    for name in names:
        np.save(folder / name, generator.standard_normal((1, 80, frames)).astype(np.float32) - 8)
        np.save(folder / "features" / name, generator.standard_normal((frames // 2, 10)).astype(np.float16))
    write_list(folder, names, {"valid_features": [frames // 2] * CLIPS})
    write_statistics(folder, -8.0, 1.0)
    return folder


def write_teacher(folder: Path, config: str) -> Path:
    """A tiny M2D that hears what a configuration hears."""
    model = read_settings(CONFIGS / f"{config}.yaml")["model"]
    torch.manual_seed(1)
    sizes = {name: model[name] for name in ("input_size", "patch_size")}
    M2DForPreTraining(M2DConfig(**sizes, **TINY)).save_pretrained(folder)
    return folder


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Train:
    """Runs two steps of a recipe in this process; returns the folder of the run."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.syspath_prepend(str(ROOT / "train"))

    def run(recipe: str, config: str, *arguments: str | Path, prefix: str = "model") -> Path:
        short = ("--steps", "2", "--epochs", "0", "--batch-size", "2", "--accumulation", "1", "--precision", "no")
        words = [CONFIGS / f"{config}.yaml", "--output-dir", tmp_path / "run", *short, "--log-every", "1"]
        monkeypatch.setattr(sys, "argv", [recipe, *map(str, [*words, *tiny(prefix), *arguments])])
        importlib.import_module(recipe.removesuffix(".py")).main()
        return tmp_path / "run"

    return run


def test_every_configuration_of_the_family_is_tried_here() -> None:
    named = [name for names in RECIPES.values() for name in names]
    assert sorted(named) == sorted(
        path.stem for pattern in ("m2d*", "msm*") for path in CONFIGS.glob(f"{pattern}.yaml")
    )


def assert_trained(run: Path, *parts: str) -> None:
    """Two steps were logged with these parts of the loss, and the model opens as an encoder."""
    rows = [row for row in read_log(run / "log.jsonl") if "loss" in row]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(np.isfinite([row[part] for part in ("loss", *parts)]).all() for row in rows)
    assert isinstance(AutoModel.from_pretrained(run / "model"), M2DModel)


@pytest.mark.parametrize("config", RECIPES["m2d.py"])
def test_m2d(train: Train, tmp_path: Path, config: str) -> None:
    assert_trained(train("m2d.py", config, "--data-dir", write_map(tmp_path / "data")))


def test_checkpoints_tell_how_many_directions_the_features_use(train: Train, tmp_path: Path) -> None:
    run = train("m2d.py", "m2d_mini", "--data-dir", write_map(tmp_path / "data"), "--data.monitored", "4")
    (row,) = [row for row in read_log(run / "log.jsonl") if "effective_rank" in row]
    assert row["step"] == 2
    assert 1 <= row["effective_rank"] <= TINY["embed_dim"] and 0.5 < row["explained_auc"] <= 1


@pytest.mark.parametrize("config", RECIPES["m2d_clap.py"])
def test_m2d_clap(train: Train, tmp_path: Path, config: str) -> None:
    vectors = {str(number): np.ones((2, 32), np.float32) * number for number in range(CLIPS)}
    np.savez(tmp_path / "vectors.npz", **vectors)
    folders = ("--data-dir", write_map(tmp_path / "data"), "--vectors", tmp_path / "vectors.npz")
    run = train("m2d_clap.py", config, *folders, prefix="model.audio_config")
    assert {"m2d", "contrastive"} <= read_log(run / "log.jsonl")[-1].keys()


@pytest.mark.parametrize("config", RECIPES["m2d_x.py"])
def test_m2d_x(train: Train, tmp_path: Path, config: str) -> None:
    labels = tmp_path / "labels.csv"
    rows = [f'{number},"all,{"odd" if number % 2 else "even"}"' for number in range(CLIPS)]
    labels.write_text("\n".join(["file_name,labels", *rows]) + "\n")
    teacher = write_teacher(tmp_path / "teacher", config)
    folders = ("--data-dir", write_map(tmp_path / "data"), "--background-dir", write_map(tmp_path / "noise"))
    run = train("m2d_x.py", config, *folders, "--teacher", teacher, "--start-from", teacher, "--labels", labels)
    assert_trained(run, "m2d", *([] if config in ("m2d_resp", "m2d_x_mini") else ["offline"]))


@pytest.mark.parametrize("config", RECIPES["m2d_s.py"])
def test_m2d_s(train: Train, tmp_path: Path, config: str) -> None:
    folders = ("--data-dir", write_speech(tmp_path / "speech"), "--background-dir", write_map(tmp_path / "noise"))
    assert_trained(train("m2d_s.py", config, *folders), "m2d", "offline")


def test_weighted_sampling_of_m2d_as(train: Train, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file_name,labels\n" + "".join(f"{number},all\n" for number in range(CLIPS)))
    folders = ("--data-dir", write_map(tmp_path / "data"), "--labels", labels)
    assert_trained(train("m2d_x.py", "m2d_as", *folders, "--data.weighted_sampling", "true"), "offline")


def test_every_block_is_compiled_where_that_is_asked_for(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(Block, "compile", lambda block: compiled.append(block))
    folders = ("--data-dir", write_map(tmp_path / "data"))
    train("m2d.py", "m2d_mini", *folders)
    assert not compiled
    shutil.rmtree(tmp_path / "run")
    train("m2d.py", "m2d_mini", "--data-dir", tmp_path / "data", "--compile_blocks", "true")
    assert len(compiled) == 2 * TINY["depth"] + TINY["decoder_depth"]


def test_weights_without_labels_are_refused(train: Train, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="weighted_sampling goes by labels"):
        train("m2d_x.py", "m2d_x_mini", "--data-dir", write_map(tmp_path / "data"), "--data.weighted_sampling", "true")


@pytest.mark.parametrize(
    ("config", "option"), [("m2d_x_icbhi", "--teacher"), ("m2d_as", "--labels")], ids=["distil", "tags"]
)
def test_a_task_without_what_it_learns_from_is_refused(train: Train, tmp_path: Path, config: str, option: str) -> None:
    with pytest.raises(TrainingError, match=f"needs {option}"):
        train("m2d_x.py", config, "--data-dir", write_map(tmp_path / "data"))


def test_noise_without_a_folder_of_it_is_refused(train: Train, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"noise_ratio 0\.2 needs --background-dir"):
        train("m2d_s.py", "m2d_s", "--data-dir", write_speech(tmp_path / "speech"))


def test_an_unknown_setting_of_the_data_is_refused(train: Train, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="unknown setting 'noise'"):
        train("m2d.py", "m2d", "--data-dir", write_map(tmp_path / "data"), "--data.noise", "1")


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("model.mask_rato", "0.5", r"'model\.mask_rato' is unknown; known are input_size"),
        ("model.mask_ratio", "abc", "mask_ratio is a number"),
        ("model.mask_ratio", "7", "mask_ratio must be between 0 and 1"),
        ("model.input_size", "80", "input_size is a list of 2 whole numbers"),
        ("model.norm_mean", "0", "norm_mean' follows from the data"),
        ("model", "5", "model is a group of settings"),
        ("data", "5", "data is a group of settings"),
        ("target_decay", "0.9", "target_decay is a list of 2 numbers"),
        ("target_decay", "[0.9, 2]", "target_decay is from 0 to 1"),
        ("compile_blocks", "perhaps", "compile_blocks is of type bool"),
    ],
)
def test_wrong_settings_are_refused_before_the_data_is_opened(
    train: Train, tmp_path: Path, name: str, value: str, complaint: str
) -> None:
    with pytest.raises(TrainingError, match=complaint):
        train("m2d.py", "m2d_mini", "--data-dir", tmp_path / "none", f"--{name}", value)


def test_the_folder_of_the_run_may_be_given_as_a_setting(train: Train) -> None:
    recipe = importlib.import_module("recipe")
    config = str(CONFIGS / "m2d_mini.yaml")
    args, overrides = recipe.recipe_parser("").parse_known_args([config, "--data-dir", "x", "--output_dir", "there"])
    assert recipe.Recipe.read(args, overrides).training.output_dir == "there"


def test_settings_of_another_recipe_are_refused(train: Train, tmp_path: Path) -> None:
    folder = ("--data-dir", tmp_path / "none")
    with pytest.raises(TrainingError, match=r"'model\.audio_config' is unknown"):
        train("m2d.py", "m2d_clap_mini", *folder)
    with pytest.raises(TrainingError, match=r"'model\.input_size' is unknown; known are audio_config"):
        train("m2d_clap.py", "m2d_mini", *folder, "--vectors", "none.npz")
    with pytest.raises(TrainingError, match=r"'model\.audio_config\.mask_rato' is unknown"):
        train(
            "m2d_clap.py", "m2d_clap_mini", *folder, "--vectors", "x", "--model.audio_config.mask_rato", "1",
            prefix="model.audio_config",
        )  # fmt: skip


@pytest.mark.parametrize(("option", "name"), [("--start-from", "none"), ("--teacher", "none"), ("--teacher", "no.pth")])
def test_a_mistyped_model_is_no_question_to_the_network(train: Train, tmp_path: Path, option: str, name: str) -> None:
    task = ("--model.offline_task", "distil" if option == "--teacher" else "none")
    with pytest.raises(ModelFormatError, match="no such f"):
        train("m2d_x.py", "m2d_x_mini", "--data-dir", write_map(tmp_path / "data"), option, tmp_path / name, *task)


def test_a_file_of_vectors_that_is_none_is_refused(train: Train, tmp_path: Path) -> None:
    (tmp_path / "vectors.npz").write_text("no vectors")
    arguments = ("--data-dir", write_map(tmp_path / "data"), "--vectors", tmp_path / "vectors.npz")
    with pytest.raises(TrainingError, match="is no NPZ file of sentence vectors"):
        train("m2d_clap.py", "m2d_clap_mini", *arguments, prefix="model.audio_config")


def test_speech_is_looked_for_before_the_model_is_loaded(train: Train, tmp_path: Path) -> None:
    script = importlib.import_module("speech_features")
    with pytest.raises(mmret.errors.DataLayoutError, match="no such folder"):
        script.main([str(tmp_path / "none"), str(tmp_path / "out"), "--model", "none"])
    with pytest.raises(ModelFormatError, match="no such folder, and no hub id"):
        script.main([str(write_recordings(tmp_path / "audio")), str(tmp_path / "out"), "--model", "none"])


def test_checkpoints_do_not_hold_the_teacher(train: Train, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    teacher = write_teacher(tmp_path / "teacher", "m2d_x_mini")
    arguments = ("--data-dir", write_map(tmp_path / "data"), "--teacher", teacher, "--model.offline_task", "distil")
    run = train("m2d_x.py", "m2d_x_mini", *arguments)
    names = load_file(run / "step-00000002" / "model.safetensors").keys()
    assert {name.partition(".")[0] for name in names} == {"model"}
    assert not any("teacher" in name for name in names)


@pytest.fixture
def hubert(tmp_path: Path) -> Path:
    """A tiny HuBERT with random weights."""
    torch.manual_seed(2)
    HubertModel(HubertConfig(**HUBERT)).save_pretrained(tmp_path / "hubert")
    return tmp_path / "hubert"


def write_recordings(folder: Path) -> Path:
    """A recording shorter than 7 s, a longer one, and a file that is none."""
    import soundfile

    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, seconds in (("short", 3.5), ("long", 8.0)):
        soundfile.write(folder / f"{name}.wav", 0.1 * generator.standard_normal(int(16_000 * seconds)), 16_000)
    (folder / "text.wav").write_text("no sound")
    return folder


def test_speech_features_are_made_counted_and_learnt(
    train: Train, tmp_path: Path, hubert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = importlib.import_module("speech_features")
    audio, out = write_recordings(tmp_path / "audio"), tmp_path / "features"
    arguments = [str(audio), str(out), "--model", str(hubert), "--layer", "1"]
    assert script.main(arguments) == 1
    assert "text.wav" in capsys.readouterr().err
    assert (out / "files.csv").read_text().splitlines()[1:] == ['"long.wav.npy",399', '"short.wav.npy",174']
    features = np.load(out / "features" / "short.wav.npy")
    assert (features.shape, features.dtype) == ((349, 16), np.float16)
    assert np.load(out / "short.wav.npy").shape == (1, 80, 701)

    made = (out / "features" / "long.wav.npy").stat().st_mtime_ns
    assert script.main(arguments) == 1
    assert (out / "features" / "long.wav.npy").stat().st_mtime_ns == made
    run = train("m2d_s.py", "m2d_s_40ms", "--data-dir", out, "--data.noise_ratio", "0", "--batch-size", "1")
    assert_trained(run, "offline")
    assert AutoModel.from_pretrained(run / "model").config.offline_dim == 16


def test_features_are_the_layer_of_the_standardised_wave(tmp_path: Path, hubert: Path, train: Train) -> None:
    script = importlib.import_module("speech_features")
    wave = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.05 + 0.3
    features = script.SpeechModel(str(hubert), 2, "cpu")(wave)
    scaled = torch.from_numpy((wave - wave.mean()) / wave.std())[None]
    with torch.inference_mode():
        expected = HubertModel.from_pretrained(hubert).eval()(scaled, output_hidden_states=True).hidden_states[2][0]
    np.testing.assert_allclose(features, expected, atol=5e-3)


@pytest.mark.parametrize(("layer", "words"), [(3, "layers 0 to 2, not 3"), (-1, "layers 0 to 2, not -1")])
def test_a_layer_that_is_not_there_is_refused(hubert: Path, train: Train, layer: int, words: str) -> None:
    script = importlib.import_module("speech_features")
    with pytest.raises(ModelFormatError, match=words):
        script.SpeechModel(str(hubert), layer, "cpu")


def test_a_model_of_another_step_is_refused(tmp_path: Path, train: Train) -> None:
    script = importlib.import_module("speech_features")
    M2DModel(M2DConfig(**TINY)).save_pretrained(tmp_path / "m2d")
    with pytest.raises(ModelFormatError, match="does not step 320 samples"):
        script.SpeechModel(str(tmp_path / "m2d"), 1, "cpu")
