"""Settings come from a file, its base and the command line, and are checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmret.errors import TrainingError
from mmret.training import TrainingConfig


def written(folder: Path, name: str, text: str) -> Path:
    """A settings file."""
    path = folder / name
    path.write_text(text)
    return path


def test_file_over_base_under_command_line(tmp_path: Path) -> None:
    written(tmp_path, "base.yaml", "steps: 10\nlearning_rate: 3e-4\nprecision: no\nbetas: [0.9, 0.98]\n")
    path = written(tmp_path, "run.yaml", "_base: base.yaml\nsteps: 20\nclip_norm: null\n")
    config = TrainingConfig.from_yaml(path, ["--batch-size", "7", "--seed=3"])
    assert (config.steps, config.learning_rate, config.batch_size, config.seed) == (20, 3e-4, 7, 3)
    assert (config.precision, config.betas, config.clip_norm) == ("no", (0.9, 0.98), None)
    assert config.output_dir == "runs/run"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("steps: 10\nlearnign_rate: 1", "unknown setting 'learnign_rate'"),
        ("steps: ten", "steps is of type int"),
        ("steps: 10\nlearning_rate: fast", "learning_rate is a number"),
        ("steps: 10\nschedule: steps", "schedule is one of cosine"),
        ("steps: 10\nepochs: 3", "give steps or epochs"),
        ("steps: 10\nbatch_size: 0", "batch_size must be at least 1"),
        ("- steps", "does not hold settings"),
        ("_base: absent.yaml", "cannot read the settings"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(TrainingError, match=complaint):
        TrainingConfig.from_yaml(written(tmp_path, "run.yaml", text))


def test_base_of_a_base_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "a.yaml", "steps: 1")
    written(tmp_path, "b.yaml", "_base: a.yaml")
    with pytest.raises(TrainingError, match="one level"):
        TrainingConfig.from_yaml(written(tmp_path, "c.yaml", "_base: b.yaml"))


def test_override_without_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--name value"):
        TrainingConfig.from_yaml(written(tmp_path, "run.yaml", "steps: 1"), ["--seed"])


def test_epochs_become_steps_and_the_base_rate_a_rate() -> None:
    config = TrainingConfig(epochs=300, warmup_epochs=20, batch_size=512, base_learning_rate=3e-4)
    settled = config.in_steps(samples=2_000_000, processes=4)
    assert (settled.steps, settled.warmup_steps) == (300 * 976, 20 * 976)
    assert settled.learning_rate == pytest.approx(2.4e-3)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["--base_learning_rate", "-1"], "base_learning_rate must be above 0, not -1"),
        (["--learning_rate", "0"], "learning_rate must be above 0"),
        (["--learning_rate", "nan"], "learning_rate must be above 0"),
        (["--weight_decay", "-0.1"], "weight_decay must be at least 0"),
        (["--steps", "-1", "--epochs", "5"], "steps must be at least 0"),
        (["--ema_decay", "2"], "ema_decay must be from 0 to 1"),
        (["--betas", "0.9"], "betas is a list of 2 numbers"),
        (["--betas", "[0.9, much]"], "betas is a list of 2 numbers"),
        (["--betas", "[0.9, 1.5]"], "betas must be from 0 to below 1"),
        (["--seed", "[1"], "cannot read the value"),
        (["--learning_rate", "1", "--base_learning_rate", "1"], "the command line gives learning_rate and base_"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, overrides: list[str], complaint: str) -> None:
    with pytest.raises(TrainingError, match=complaint):
        TrainingConfig.from_yaml(written(tmp_path, "run.yaml", "steps: 10\nbase_learning_rate: 3e-4"), overrides)


def test_a_file_in_another_encoding_is_told_from_settings(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes(b"steps: 10 # \xff")
    with pytest.raises(TrainingError, match="cannot read the settings"):
        TrainingConfig.from_yaml(tmp_path / "run.yaml")


def test_what_is_given_on_the_command_line_has_its_effect(tmp_path: Path) -> None:
    path = written(tmp_path, "run.yaml", "steps: 10\nbase_learning_rate: 3e-4\nwarmup_epochs: 0\nwarmup_steps: 5\n")
    settled = TrainingConfig.from_yaml(path, ["--learning_rate", "0.5", "--warmup_epochs", "2"]).in_steps(640, 1)
    assert (settled.learning_rate, settled.warmup_steps) == (0.5, 20)
    settled = TrainingConfig.from_yaml(path, ["--base_learning_rate", "0.5"]).in_steps(640, 1)
    assert (settled.learning_rate, settled.warmup_steps) == (0.125, 5)
