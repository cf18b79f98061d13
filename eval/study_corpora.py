"""The speech that eval/pretraining_study.py trains on: spoken digits that are not held out, and read speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from study_probes import FRAMES, RATE, SAMPLES, LogMels, Spoken, log_mels_of, voices  # the neighbouring script

from mmret.audio.decode import decode
from mmret.data.log_mel_crops import mean_and_std
from mmret.data.log_mel_folder import LIST_NAME, MAP_NAME, write_list, write_statistics
from mmret.data.offline_targets import FEATURES_DIR, FRAMES_A_FEATURE

COEFFICIENTS = 13
EPS = 1e-6


def digits_corpus(spoken: Spoken, folder: Path) -> Path:
    """Folder of the digits to train on, one map of log-mels."""
    if not (folder / LIST_NAME).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        windows = spoken.clean[~spoken.test][..., :FRAMES]
        np.save(folder / MAP_NAME, windows)
        write_statistics(folder, *mean_and_std(windows))
        write_list(folder, [f"digit-{number}" for number in range(len(windows))])
    return folder


def speech_corpus(spoken: Spoken, root: Path, folder: Path) -> Path:
    """Folder as of train/speech_features.py: digits and windows of read speech, with cepstra as what a teacher says.

    No trained speech model is at hand: the teacher here is what the first round of HuBERT itself learns from.
    """
    if not (folder / LIST_NAME).is_file():
        windows = np.concatenate([spoken.clean[~spoken.test][..., :FRAMES], _read_speech(root)])
        (folder / FEATURES_DIR).mkdir(parents=True, exist_ok=True)
        features = np.stack([cepstra(window) for window in windows])
        features = (features - features.mean(axis=(0, 1))) / (features.std(axis=(0, 1)) + EPS)
        names = [f"speech-{number:05d}.npy" for number in range(len(windows))]
        for name, window, target in zip(names, windows, features, strict=True):
            np.save(folder / name, window)
            np.save(folder / FEATURES_DIR / name, target.astype(np.float16))
        write_statistics(folder, *mean_and_std(windows))
        write_list(folder, names, {"valid_features": [features.shape[1]] * len(names)})
    return folder


def _read_speech(root: Path) -> LogMels:
    """Half-overlapping windows of train-clean-100, whose speakers are none of those that are told apart."""
    waves = [decode(path, RATE) for _, path in voices(root, "train-clean-100")]
    cut = [w[start : start + SAMPLES] for w in waves for start in range(0, len(w) - SAMPLES + 1, SAMPLES // 2)]
    return log_mels_of(cut)[..., :FRAMES]


def cepstra(log_mel: LogMels) -> NDArray[np.float32]:
    """13 cepstral coefficients with first and second differences, every 20 ms: (frames / 2, 39) of (mels, frames)."""
    pairs = log_mel.astype(np.float32).reshape(len(log_mel), -1, FRAMES_A_FEATURE).mean(axis=2)
    coefficients = dct(pairs, axis=0, norm="ortho")[:COEFFICIENTS].T
    first = np.gradient(coefficients, axis=0)
    return np.concatenate([coefficients, first, np.gradient(first, axis=0)], axis=1).astype(np.float32)
