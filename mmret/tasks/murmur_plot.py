"""Picture of a patient's scores: the spectrogram of every recording, with the scores of its pieces above."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from mmret._optional import require
from mmret.audio.decode import decode
from mmret.audio.heart_cycles import FRAMES_PER_SECOND, HEART_LOG_MEL, SAMPLE_RATE, SHORTEST_S, heart_log_mel
from mmret.errors import MmretError
from mmret.tasks.murmur import NO_DEVICE, PatientReport, ScoredRecording

FORMATS = (".png", ".svg", ".pdf")
ROW_INCHES = 2.2
WIDTH_INCHES = 11.0
DECIBELS_PER_NEPER = 10 / np.log(10)  # of power
SHOWN_DB = (-10.0, 30.0)  # over the median of each band


def plot_path(path: str | os.PathLike[str]) -> Path:
    """The path, refused unless its ending names a picture's format."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise MmretError(f"{path}: a plot is written as {', '.join(FORMATS)}; give a name that ends so")
    return path


def plot_patient(report: PatientReport, path: str | os.PathLike[str]) -> Path:
    """Write the picture as PNG, SVG or PDF, by the name's ending."""
    path = plot_path(path)
    figure_class = require("matplotlib.figure", extra="plots").Figure
    rows = len(report.recordings)
    figure = figure_class(figsize=(WIDTH_INCHES, ROW_INCHES * rows + 0.6), layout="constrained")
    for recording, axes in zip(report.recordings, figure.subplots(rows, 1, squeeze=False)[:, 0], strict=True):
        _draw(recording, axes)
    figure.suptitle(f"{report.patient}: {report.label} ({NO_DEVICE})", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def _draw(recording: ScoredRecording, axes: Any) -> None:
    waveform = decode(recording.path, SAMPLE_RATE)
    duration_s = len(waveform) / SAMPLE_RATE
    if duration_s >= SHORTEST_S:
        log_mel = heart_log_mel(waveform)
        level_db = DECIBELS_PER_NEPER * (log_mel - np.median(log_mel, axis=1, keepdims=True))
        extent = (0, log_mel.shape[1] / FRAMES_PER_SECOND, HEART_LOG_MEL.f_min, HEART_LOG_MEL.f_max)
        low, high = SHOWN_DB
        axes.imshow(level_db, aspect="auto", origin="lower", extent=extent, vmin=low, vmax=high, cmap="magma")
    axes.set(ylabel="Hz", xlabel="s", xlim=(0, duration_s))
    place = f"{recording.location}, " if recording.location else ""
    axes.set_title(f"{recording.path.name} ({place}{recording.label})", fontsize=9, loc="left")
    above = axes.twinx()
    first = next(iter(recording.probabilities))
    for piece in recording.pieces:
        score = piece.probabilities[first]
        above.plot([piece.start_s, min(piece.stop_s, duration_s)], [score, score], color="cyan", linewidth=2)
    above.set(ylim=(0, 1), ylabel=f"P({first})")
