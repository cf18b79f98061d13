"""The loop: what it learns, averages, logs, skips and refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmret.errors import TrainingError
from mmret.training import Checkpoints, fit, load_weights, read_log
from tests.training.toy_run import CONFIG, ToyData, toy_objective


class SpoiltData(ToyData):
    """Toy data where some samples are not a number."""

    def __init__(self, spoilt: set[int]) -> None:
        self.spoilt = spoilt

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        batch = super().batch(indices, epoch, seed)
        for row, index in enumerate(indices):
            if index in self.spoilt:
                batch["x"][row] = torch.nan
        return batch


def test_loss_falls_and_every_value_is_logged(tmp_path: Path) -> None:
    result = fit(toy_objective(), ToyData(), replace(CONFIG, output_dir=str(tmp_path), steps=100))
    entries = read_log(result.log_path)
    assert entries[-1]["loss"] < 0.7 * entries[0]["loss"]
    assert entries[-1].keys() >= {"step", "epoch", "loss", "hidden", "grad_norm", "learning_rate", "seconds", "skipped"}


def test_accumulated_passes_equal_one_large_batch(tmp_path: Path) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 1)

        def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
            return {"loss": self.layer(batch["x"]).square().mean()}

    weights = []
    for batch_size, accumulation in ((16, 1), (8, 2)):
        torch.manual_seed(0)
        objective = Plain()
        folder = tmp_path / str(accumulation)
        settings = {"batch_size": batch_size, "accumulation": accumulation, "output_dir": str(folder)}
        fit(objective, ToyData(), replace(CONFIG, **settings))
        weights.append(objective.layer.weight.detach())
    torch.testing.assert_close(*weights, rtol=0, atol=1e-6)


def test_average_follows_trained_weights_and_copies_the_rest(tmp_path: Path) -> None:
    objective = toy_objective()
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    result = fit(objective, ToyData(), replace(CONFIG, output_dir=str(tmp_path), steps=1, ema_decay=0.75))
    averaged = toy_objective()
    load_weights(averaged, result.checkpoint, "ema")
    after, average = objective.state_dict(), averaged.state_dict()
    torch.testing.assert_close(average["net.0.weight"], 0.75 * before["net.0.weight"] + 0.25 * after["net.0.weight"])
    assert torch.equal(average["net.1.running_mean"], after["net.1.running_mean"])
    assert torch.equal(average["target.weight"], after["target.weight"])


def test_evaluation_sees_the_average_and_leaves_no_trace(tmp_path: Path) -> None:
    seen = []

    def evaluate(module: nn.Module, step: int) -> dict[str, float]:
        assert not module.training
        seen.append(module.net[0].weight.clone())
        torch.rand(3)
        return {"accuracy": 0.5}

    plain = toy_objective()
    fit(plain, ToyData(), replace(CONFIG, output_dir=str(tmp_path / "plain")))
    evaluated = toy_objective()
    result = fit(evaluated, ToyData(), replace(CONFIG, output_dir=str(tmp_path / "other")), evaluate=evaluate)
    assert torch.equal(plain.net[0].weight, evaluated.net[0].weight)
    averages = Checkpoints(tmp_path / "other").latest()
    assert averages is not None and torch.equal(averages.tensors("ema")["net.0.weight"], seen[-1])
    assert sum("accuracy" in entry for entry in read_log(result.log_path)) == 5


def test_spoilt_samples_cost_their_step_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    objective = toy_objective()
    result = fit(objective, SpoiltData({41}), replace(CONFIG, output_dir=str(tmp_path)))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in objective.state_dict().values())
    skipped = read_log(result.log_path)[-1]["skipped"]
    assert 1 <= skipped <= 4  # one step of each epoch, unless the sample fell into the rest
    assert "41" in caplog.text
    spoilt = [entry["skipped_samples"] for entry in read_log(result.log_path) if "skipped_samples" in entry]
    assert len(spoilt) == skipped and all(any(41 in part for part in passes) for passes in spoilt)


def test_run_stops_when_nothing_is_finite(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not finite"):
        fit(toy_objective(), SpoiltData(set(range(100))), replace(CONFIG, output_dir=str(tmp_path)))
    assert Checkpoints(tmp_path).latest() is None or Checkpoints(tmp_path).latest().step <= 8


def test_fault_in_the_data_is_raised_in_the_run(tmp_path: Path) -> None:
    class Broken(ToyData):
        def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        fit(toy_objective(), Broken(), replace(CONFIG, output_dir=str(tmp_path)))


def test_less_data_than_one_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="100 samples cannot fill one step of 256"):
        fit(toy_objective(), ToyData(), replace(CONFIG, output_dir=str(tmp_path), batch_size=128))


def test_bfloat16_trains_close_to_float32(tmp_path: Path) -> None:
    losses = []
    for precision in ("no", "bf16"):
        config = replace(CONFIG, output_dir=str(tmp_path / precision), precision=precision)
        losses.append(read_log(fit(toy_objective(), ToyData(), config).log_path)[-1]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]


def test_group_with_its_own_peak_follows_the_same_schedule(tmp_path: Path) -> None:
    objective = toy_objective()
    slow, fast = list(objective.net[0].parameters()), list(objective.net[3].parameters())
    objective.parameter_groups = lambda: [{"params": slow, "lr": 0.0}, {"params": fast}]
    before = objective.net[0].weight.clone()
    fit(objective, ToyData(), replace(CONFIG, output_dir=str(tmp_path), weight_decay=0.0))
    assert torch.equal(before, objective.net[0].weight)
