"""Fine-tuning from recordings to the best epoch, on tiny models and tones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmret.data.waveform_crops import WaveformCrops, WithTargets
from mmret.models import M2DConfig, M2DModel
from mmret.models.fine_tuning import FineTuneConfig, FineTuning, classifier_on
from mmret.tasks.fine_tuning import fine_tune
from mmret.tasks.pieces import all_pieces, first_piece, predict
from mmret.training import TrainingConfig, sample_generator
from mmret.training.weighted import WeightedEpochs, label_balancing_weights
from tests.tasks.fake_encoder import write_tone

RATE, UNIT_S = 16_000, 0.5


@pytest.fixture
def tones(tmp_path: Path) -> list[Path]:
    """Four low tones and four high ones."""
    folder = tmp_path / "tones"
    return [write_tone(folder / f"{n}.wav", 200 if n < 4 else 3000, 0.7, seed=n) for n in range(8)]


def objective() -> FineTuning:
    torch.manual_seed(0)
    encoder = M2DModel(M2DConfig(input_size=(80, 64), embed_dim=16, depth=1, num_heads=2))
    return FineTuning(classifier_on(encoder, ["low", "high"], FineTuneConfig()), FineTuneConfig())


def targets(count: int = 8) -> NDArray[np.float32]:
    return np.eye(2, dtype=np.float32)[np.arange(count) // (count // 2)]


def pieces(path: Path) -> Iterator[NDArray[np.float32]]:
    return first_piece(path, RATE, UNIT_S)


def test_training_keeps_the_last_of_the_best_epochs_and_resumes(tones: list[Path], tmp_path: Path) -> None:
    crops = WaveformCrops(tones, samples=8000, sample_rate=RATE, generator_of=sample_generator)
    data = WithTargets(crops, targets())
    settings = {"optimiser": "sgd", "learning_rate": 0.05, "clip_norm": None, "schedule": "cosine_under_warmup"}
    config = TrainingConfig(output_dir=str(tmp_path / "run"), epochs=3, batch_size=64, **settings)
    scores = iter([0.25, 0.75, 0.75])
    best = fine_tune(objective(), data, config, lambda _: next(scores))
    assert (best.score, best.step) == (0.75, 3)
    assert sorted(path.name for path in best.folder.iterdir()) == ["config.json", "model.safetensors", "score.json"]
    assert not list((tmp_path / "run").glob(".best*"))
    assert fine_tune(objective(), data, config, lambda _: 1.0) == best  # nothing is left to do


def test_it_learns_to_tell_two_tones(tones: list[Path], tmp_path: Path) -> None:
    crops = WaveformCrops(tones, samples=8000, sample_rate=RATE, generator_of=sample_generator)
    config = TrainingConfig(output_dir=str(tmp_path / "run"), steps=12, batch_size=8, learning_rate=3e-3)
    labels = targets().argmax(axis=1)

    def score(objective: FineTuning) -> float:
        return float((predict(objective, tones, pieces).argmax(axis=1) == labels).mean())

    assert fine_tune(objective(), WithTargets(crops, targets()), config, score).score == 1.0


def test_a_long_recording_is_the_mean_of_its_pieces(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "long.wav", 500, 1.7)
    parts = list(all_pieces(path, RATE, UNIT_S))
    assert [len(part) for part in parts] == [8000] * 4
    (first,) = first_piece(path, RATE, UNIT_S)
    np.testing.assert_array_equal(parts[0], first)
    model = objective().eval()
    together = predict(model, [path, path], lambda path: all_pieces(path, RATE, UNIT_S), batch=3)
    with torch.no_grad():
        expected = model.predict(torch.from_numpy(np.stack(parts))).mean(dim=0).numpy()
    np.testing.assert_allclose(together, np.stack([expected, expected]), atol=1e-5)


def test_a_short_recording_gets_zeros(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "short.wav", 500, 0.3)
    (piece,) = all_pieces(path, RATE, UNIT_S)
    assert len(piece) == 8000
    assert not piece[4800:].any()


def test_weighted_epochs_draw_the_rare_more_often_and_no_clip_twice(tones: list[Path]) -> None:
    labels = np.zeros((100, 2), bool)
    labels[:90, 0], labels[90:, 1] = True, True
    weights = label_balancing_weights(labels)
    assert weights[95] / weights[5] == pytest.approx((90 / 10) ** (1 / 1.5), rel=1e-3)

    class Numbers:
        def __len__(self) -> int:
            return 100

        def batch(self, indices: list[int], epoch: int, seed: int) -> dict[str, torch.Tensor]:
            return {"number": torch.tensor(indices)}

    epochs = WeightedEpochs(Numbers(), weights, 20)
    drawn = [epochs.batch(range(20), epoch, 7)["number"] for epoch in range(50)]
    assert len(epochs) == 20
    assert all(len(numbers.unique()) == 20 for numbers in drawn)
    rare = float(torch.cat(drawn).ge(90).float().mean())
    assert 0.25 < rare < 0.45  # a tenth of the clips
    assert torch.equal(epochs.batch(range(20), 3, 7)["number"], drawn[3])
