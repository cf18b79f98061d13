"""Fine-tuning of all weights: train on random crops, keep the epoch that scores best, hear whole recordings after."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray

from mmret.audio.decode import decode_blocks
from mmret.audio.segments import WindowConfig, iter_segments
from mmret.data.crops import crop_or_pad
from mmret.models.fine_tuning import FineTuning
from mmret.training import TrainingConfig, TrainingData, fit

Logits = NDArray[np.float32]
Pieces = Callable[[Path], Iterable[NDArray[np.float32]]]
Score = Callable[[FineTuning], float]

BEST = "best"
SCORE_FILE = "score.json"


@dataclass(frozen=True)
class Best:
    """The epoch that scored best, the last of equals: its score, its step and the folder of the classifier."""

    score: float
    step: int
    folder: Path


def fine_tune(objective: FineTuning, data: TrainingData, config: TrainingConfig, score: Score) -> Best:
    """Train, score every epoch with `score(objective)`, higher is better, and return the best.

    The classifier of the best epoch stands in OUTPUT_DIR/best as a transformers folder. A run that was stopped goes
    on where it was.
    """
    batch = min(config.batch_size, len(data))
    per_epoch = max(1, len(data) // (batch * config.accumulation * PartialState().num_processes))
    keep = _KeepBest(Path(config.output_dir) / BEST, score)
    fit(objective, data, replace(config, batch_size=batch, save_every=per_epoch, keep_last=1), evaluate=keep)
    return keep.best


class _KeepBest:
    """Scores the classifier and saves it where no epoch was better."""

    def __init__(self, folder: Path, score: Score) -> None:
        self._folder, self._score = folder, score

    @property
    def best(self) -> Best:
        """The best so far."""
        facts = json.loads((self._folder / SCORE_FILE).read_text())
        return Best(float(facts["score"]), int(facts["step"]), self._folder)

    def __call__(self, objective: torch.nn.Module, step: int) -> dict[str, float]:
        """Score after a step; the log keeps what is returned."""
        assert isinstance(objective, FineTuning)
        score = self._score(objective)
        if not (self._folder / SCORE_FILE).is_file() or score >= self.best.score:
            self._save(objective, score, step)
        return {"score": score}

    def _save(self, objective: FineTuning, score: float, step: int) -> None:
        """Put the new best into the place of the old one; between the two the folder is away, never half-written."""
        with tempfile.TemporaryDirectory(dir=self._folder.parent, prefix=f".{BEST}-") as scratch:
            folder = Path(scratch) / BEST
            objective.classifier.save_pretrained(folder)
            (folder / SCORE_FILE).write_text(json.dumps({"score": score, "step": step}) + "\n")
            shutil.rmtree(self._folder, ignore_errors=True)
            folder.rename(self._folder)


def first_piece(path: Path, sample_rate: int, unit_s: float) -> Iterator[NDArray[np.float32]]:
    """Yield the first `unit_s` seconds of a recording, zeros where it is shorter: what the published protocol tests."""
    samples = round(unit_s * sample_rate)
    parts, length = [], 0
    for block in decode_blocks(path, sample_rate):  # to the end, because some faults show only there
        if length < samples:
            parts.append(block)
            length += len(block)
    yield crop_or_pad(np.concatenate(parts), samples)


def all_pieces(path: Path, sample_rate: int, unit_s: float) -> Iterator[NDArray[np.float32]]:
    """Yield a whole recording in pieces of `unit_s` seconds; the last ends with it, a short one gets zeros."""
    samples = round(unit_s * sample_rate)
    for segment in iter_segments(decode_blocks(path, sample_rate), sample_rate, WindowConfig(unit_s, unit_s)):
        yield crop_or_pad(segment.waveform, samples)


@torch.no_grad()
def predict(objective: FineTuning, paths: Sequence[Path], pieces: Pieces, *, batch: int = 16) -> Logits:
    """Logits (recordings, classes): the mean over the pieces of each."""
    device = next(objective.parameters()).device
    stream = chain.from_iterable(((row, piece) for piece in pieces(path)) for row, path in enumerate(paths))
    sums, counts = np.zeros((0, 0)), np.zeros(len(paths))
    while part := list(islice(stream, batch)):
        heard = torch.from_numpy(np.stack([piece for _, piece in part])).to(device)
        logits = objective.predict(heard).double().cpu().numpy()
        if not sums.size:
            sums = np.zeros((len(paths), logits.shape[1]))
        rows = [row for row, _ in part]
        np.add.at(sums, rows, logits)
        np.add.at(counts, rows, 1)
    return (sums / counts[:, None]).astype(np.float32)
