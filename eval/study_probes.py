"""What eval/pretraining_study.py measures of a frozen M2D: linear probes on log-mels that are made once and kept.

Scene embeddings (mean of the features over time) -> standardise -> logistic regression of one fixed strength, so that
arms compare. Short recordings are repeated to fill the model's input, as the corpus of the study is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from linear_probe import Features, probe_classes  # the neighbouring script
from numpy.typing import NDArray

from mmret.audio.decode import decode
from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.data.esc50 import read_esc50
from mmret.data.tables import read_table
from mmret.models import M2DModel
from mmret.models.m2d_features import M2DFeatures

STRENGTH = 0.1
RATE = 16_000
FRAMES = 256  # of a window that is trained on: the corpus of docs/m2d_mini.md
SAMPLES = FRAMES * RATE // 100
HEARD_FRAMES = 208  # that the models of the study take at once
CLIP = 5 * RATE  # samples of an ESC-50 clip
NOISE_SNR_DB = 5.0
ENCODED_AT_ONCE = 64
SPEAKER_PAIRS = 5

LogMels = NDArray[np.float16]
Labels = NDArray[np.int64]
Embed = Callable[[LogMels], Features]


@dataclass(frozen=True)
class Spoken:
    """The digits: log-mels (clips, mels, frames), clean and in noise, what is said, by whom, and what is held out."""

    clean: LogMels
    noisy: LogMels
    digit: Labels
    speaker: Labels
    test: NDArray[np.bool_]


def embedder(model: M2DModel) -> Embed:
    """Scene embeddings (clips, dim) of log-mels (clips, mels, frames) by a frozen model."""
    features = M2DFeatures(model.eval())

    @torch.inference_mode()
    def embed(log_mels: LogMels) -> Features:
        parts = [
            torch.from_numpy(log_mels[row : row + ENCODED_AT_ONCE]) for row in range(0, len(log_mels), ENCODED_AT_ONCE)
        ]
        scenes = [features.features(model.normalise(part.float()[:, None])).mean(dim=1) for part in parts]
        return torch.cat(scenes).numpy()

    return embed


def log_mel_mean(log_mels: LogMels) -> Features:
    """Mean over time of log-mels: (clips, mels). What every encoder should beat."""
    return log_mels.astype(np.float32).mean(axis=-1)


def _accuracy(train: tuple[Features, Labels], test: tuple[Features, Labels]) -> float:
    return float((probe_classes(train, test[0], STRENGTH) == test[1]).mean())


# ---- ESC-50: folds 1 to 3 against fold 4


def esc50_log_mels(root: Path, kept: Path) -> LogMels:
    """Log-mels (clips, 80, 501) of ESC-50's clips."""

    def make() -> LogMels:
        waves = (decode(clip.path, RATE) for clip in read_esc50(root))
        return log_mels_of(np.resize(wave, CLIP) for wave in waves)

    return _kept(kept / "esc50.npy", make)


def probe_esc50(embed: Embed, root: Path, kept: Path) -> dict[str, float]:
    """Accuracy over the 50 classes on fold 4."""
    clips = read_esc50(root)
    target, fold = (np.array([getattr(clip, name) for clip in clips]) for name in ("target", "fold"))
    features, train, test = embed(esc50_log_mels(root, kept)), fold < 4, fold == 4
    return {"esc50": _accuracy((features[train], target[train]), (features[test], target[test]))}


# ---- spoken digits


def spoken_digits(root: Path, esc50: Path, kept: Path) -> Spoken:
    """All digits, repeated to 2.56 s; the noise is of ESC-50's fold 4, which nothing here is trained on."""
    rows = read_table(root / "meta.csv", required=["file", "digit", "speaker", "part"])

    def waves() -> list[NDArray[np.float32]]:
        return [np.resize(decode(root / "audio" / row["file"], RATE), SAMPLES) for row in rows]

    def noisy() -> LogMels:
        generator = np.random.default_rng(0)
        clips = [clip.path for clip in read_esc50(esc50, folds=[4])]
        picked = generator.integers(len(clips), size=len(rows))
        return log_mels_of(in_noise(w, decode(clips[n], RATE), generator) for w, n in zip(waves(), picked, strict=True))

    speakers = sorted({row["speaker"] for row in rows})
    return Spoken(
        clean=_kept(kept / "digits.npy", lambda: log_mels_of(waves())),
        noisy=_kept(kept / "digits_in_noise.npy", noisy),
        digit=np.array([int(row["digit"]) for row in rows]),
        speaker=np.array([speakers.index(row["speaker"]) for row in rows]),
        test=np.array([row["part"] == "test" for row in rows]),
    )


def in_noise(
    wave: NDArray[np.float32], noise: NDArray[np.float32], generator: np.random.Generator
) -> NDArray[np.float32]:
    """A wave (time,) with a piece of noise below it by NOISE_SNR_DB; a piece that is silent leaves it as it is."""
    noise = np.resize(noise, max(len(noise), len(wave)))
    start = int(generator.integers(len(noise) - len(wave) + 1))
    piece = noise[start : start + len(wave)]
    power = float(np.square(piece).mean())
    wanted = float(np.square(wave).mean()) * 10 ** (-NOISE_SNR_DB / 10)
    return wave + piece * np.float32((wanted / power) ** 0.5) if power > 0 else wave


def probe_digits(embed: Embed, spoken: Spoken) -> dict[str, float]:
    """Accuracy on the held-out part: digits, digits of a speaker left out, and digits in noise."""
    clean, noisy = (embed(log_mels[..., :HEARD_FRAMES]) for log_mels in (spoken.clean, spoken.noisy))
    train, test, digit, speaker = ~spoken.test, spoken.test, spoken.digit, spoken.speaker
    left_out = [
        _accuracy(
            (clean[train & (speaker != one)], digit[train & (speaker != one)]),
            (clean[test & (speaker == one)], digit[test & (speaker == one)]),
        )
        for one in np.unique(speaker)
    ]
    return {
        "digit": _accuracy((clean[train], digit[train]), (clean[test], digit[test])),
        "digit_new_speaker": float(np.mean(left_out)),
        "digit_in_noise": _accuracy((clean[train], digit[train]), (noisy[test], digit[test])),
    }


# ---- read speech


def voices(root: Path, subset: str) -> list[tuple[str, Path]]:
    """Speaker and recording of every utterance of a subset."""
    rows = read_table(root / "meta.csv", required=["file", "speaker", "librispeech_subset"])
    return [(row["speaker"], root / "audio" / row["file"]) for row in rows if row["librispeech_subset"] == subset]


def probe_voices(embed: Embed, root: Path, kept: Path) -> dict[str, float]:
    """Accuracy over the 8 speakers of test-other by 2.08 s, learnt from two utterances each, for all such pairs."""
    utterances = voices(root, "test-other")
    speakers = sorted({speaker for speaker, _ in utterances})
    speaker = np.array([speakers.index(name) for name, _ in utterances])
    log_mels = _kept(
        kept / "voices.npy", lambda: log_mels_of(np.resize(decode(path, RATE), SAMPLES) for _, path in utterances)
    )
    features = embed(log_mels[..., :HEARD_FRAMES])
    number = np.concatenate([np.arange((speaker == one).sum()) for one in range(len(speakers))])
    shares = []
    for pair in range(SPEAKER_PAIRS):
        train = number % SPEAKER_PAIRS == pair
        shares.append(_accuracy((features[train], speaker[train]), (features[~train], speaker[~train])))
    return {"speaker": float(np.mean(shares))}


# ---- log-mels that are made once


def log_mels_of(waves: Iterable[NDArray[np.float32]]) -> LogMels:
    """Log-mels (clips, 80, frames) of waves of one length."""
    front_end = LogMel(LogMelConfig.for_rate(RATE))
    return np.stack([front_end(wave).astype(np.float16) for wave in waves])


def _kept(path: Path, make: Callable[[], LogMels]) -> LogMels:
    """An array that is made where its file is not there yet."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp.npy")
        np.save(temporary, make())
        temporary.replace(path)
    stored: LogMels = np.load(path, allow_pickle=False)
    return stored
