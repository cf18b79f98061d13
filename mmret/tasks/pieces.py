"""Recordings in pieces of one length, and what a fine-tuned network says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmret.audio.decode import decode_blocks
from mmret.audio.segments import WindowConfig, iter_segments
from mmret.data.crops import crop_or_pad
from mmret.models.fine_tuning import FineTuning

Logits = NDArray[np.float32]
Pieces = Callable[[Path], Iterable[NDArray[np.float32]]]


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
