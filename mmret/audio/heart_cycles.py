"""Heart cycles in a recording of heart sounds: first sound, systole, second sound, diastole, without training.

Rate and length of systole come from the autocorrelation of the envelope (Schmidt et al., Physiol. Meas. 31, 2010),
the states from a semi-Markov model with the durations given there, whose emission says only that sounds are loud
and the intervals between them quiet. Nothing here knows of murmurs, devices or labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mmret.audio.logmel import LogMel, LogMelConfig

Array = NDArray[np.float64]

SAMPLE_RATE = 2_000
FRAMES_PER_SECOND = 100
# 32 bands of 30 Hz with a window that tells S1 from what follows it
HEART_LOG_MEL = LogMelConfig(SAMPLE_RATE, n_fft=128, win_length=100, hop_length=20, n_mels=32, f_min=20.0, f_max=1000.0)
SOUND_BANDS = slice(0, 6)  # 20 to 230 Hz: where the sounds are, and most murmurs are not

PERIOD_S = (0.4, 1.4)  # 43 to 150 beats a minute
SYSTOLE_S = 0.2  # shortest time from S1 to S2
LONGEST_SYSTOLE = 0.55  # share of a period
# S1 to S2 over beats a minute: Weissler's line for electromechanical systole, less 50 ms from the Q wave to S1
USUAL_SYSTOLE_S = (0.496, -0.0021)
SAME_PEAK = 0.85  # a peak this near to the highest may be the period of which that is a multiple
S1_FRAMES, S2_FRAMES = (12.2, 2.2), (9.4, 2.2)  # mean and deviation (Schmidt et al., table 1)
SYSTOLE_DEVIATION, DIASTOLE_DEVIATION_OF_PERIOD = 2.5, 0.07
STEEPNESS = 2.0  # of the probability of a sound over the standardised envelope
SHORTEST_S = 2.0


class HeartState(IntEnum):
    """What the heart does in a frame."""

    S1 = 0
    SYSTOLE = 1
    S2 = 2
    DIASTOLE = 3


@dataclass(frozen=True)
class HeartCycles:
    """States (frames,) at 100 a second, and the rhythm they were fitted to.

    `regularity` is the autocorrelation of the envelope at one period, from -1 to 1: low where noise hides the beats.
    """

    states: NDArray[np.int64]
    period_s: float
    systole_s: float
    regularity: float

    def spans(self, state: HeartState) -> list[tuple[int, int]]:
        """First frame and end of every stretch of a state, those cut by the ends of the recording left out."""
        edges = np.flatnonzero(np.diff(self.states)) + 1
        inner = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        return [(start, stop) for start, stop in inner if self.states[start] == state]


def heart_log_mel(waveform: NDArray[np.float32]) -> Array:
    """Waveform (time,) at 2 kHz -> log-mel (32, frames) at unit power above 20 Hz; any length from 2 s on.

    Below 20 Hz lies the motion of the chest and of the hand, which in some recordings outweighs everything else.
    """
    if len(waveform) < SHORTEST_S * SAMPLE_RATE:
        raise ValueError(f"{len(waveform)} samples: heart cycles need {SHORTEST_S:g} s at {SAMPLE_RATE} Hz")
    spectrum = np.fft.rfft(waveform - waveform.mean())
    spectrum[np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE) < HEART_LOG_MEL.f_min] = 0
    heard = np.fft.irfft(spectrum, len(waveform))
    scaled = heard / max(float(heard.std()), 1e-12)
    return LogMel(HEART_LOG_MEL)(scaled.astype(np.float32)).astype(np.float64)


def find_cycles(log_mel: Array) -> HeartCycles:
    """States of every frame of heart_log_mel (32, frames)."""
    envelope = sound_envelope(log_mel)
    period, systole, regularity = rhythm(envelope)
    states = _viterbi(_log_odds(envelope, period), _durations(period, systole))
    return HeartCycles(states, period / FRAMES_PER_SECOND, systole / FRAMES_PER_SECOND, regularity)


def sound_envelope(log_mel: Array) -> Array:
    """Mean log power of the bands of the heart sounds (frames,), smoothed over 50 ms, its slow drift taken off."""
    loudness = log_mel[SOUND_BANDS].mean(axis=0)
    smooth = _moving_mean(np.maximum(loudness, np.percentile(loudness, 10)), 5)
    return smooth - _moving_mean(smooth, 2 * FRAMES_PER_SECOND + 1)


def rhythm(envelope: Array) -> tuple[int, int, float]:
    """Frames of a period, frames from S1 to S2, and the autocorrelation (-1 to 1) at the period."""
    correlation = autocorrelation(envelope, round(2 * PERIOD_S[1] * FRAMES_PER_SECOND))
    first, last = (round(bound * FRAMES_PER_SECOND) for bound in PERIOD_S)
    peaks = _peaks(correlation, first, last)
    if not len(peaks):
        peaks = np.array([first + int(correlation[first : last + 1].argmax())])
    highest = correlation[peaks].max()
    period = int(peaks[correlation[peaks] >= min(SAME_PEAK * highest, highest)][0])
    return period, _systole(correlation, period), float(correlation[period])


def _systole(correlation: Array, period: int) -> int:
    """Frames from S1 to S2: the highest peak at less than about half a period.

    A murmur that fills systole leaves no peak there; what is usual at this rate then stands for it.
    """
    peaks = _peaks(correlation, round(SYSTOLE_S * FRAMES_PER_SECOND), round(LONGEST_SYSTOLE * period))
    if len(peaks):
        return int(peaks[correlation[peaks].argmax()])
    beats_per_minute = 60 * FRAMES_PER_SECOND / period
    usual_s = USUAL_SYSTOLE_S[0] + USUAL_SYSTOLE_S[1] * beats_per_minute
    return round(min(usual_s * FRAMES_PER_SECOND, LONGEST_SYSTOLE * period))


def _peaks(correlation: Array, first: int, last: int) -> NDArray[np.int64]:
    """Lags from first to last, in order, that are above what lies beside them."""
    inner = correlation[first : last + 1]
    above = (inner > correlation[first - 1 : last]) & (inner >= correlation[first + 1 : last + 2])
    return first + np.flatnonzero(above)


def autocorrelation(signal: Array, lags: int) -> Array:
    """Autocorrelation (lags + 1,) of a signal (time,), each lag over the frames that it has; lag 0 is 1."""
    centred = signal - signal.mean()
    size = len(centred)
    lags = min(lags, size - 1)
    power = np.abs(np.fft.rfft(centred, 2 * size)) ** 2
    sums = np.fft.irfft(power)[: lags + 1]
    overlap = size - np.arange(lags + 1)
    return np.asarray(sums / overlap / max(sums[0] / size, 1e-12))


def _moving_mean(signal: Array, width: int) -> Array:
    """Mean over width frames around each; at the ends over those that there are."""
    kernel = np.ones(min(width, len(signal)))
    return np.convolve(signal, kernel, "same") / np.convolve(np.ones(len(signal)), kernel, "same")


def _log_odds(envelope: Array, period: int) -> Array:
    """Log odds (frames,) that a frame holds a sound: 0 where as many frames are louder as sounds last."""
    share = (S1_FRAMES[0] + S2_FRAMES[0]) / period
    threshold = np.quantile(envelope, 1 - min(share, 0.6))
    return STEEPNESS * (envelope - threshold) / max(float(envelope.std()), 1e-12)


def _durations(period: int, systole: int) -> Array:
    """Log probability (4, longest) of each state to last 1, 2, ... frames."""
    silent = systole - S1_FRAMES[0], period - systole - S2_FRAMES[0]
    means = (S1_FRAMES[0], max(silent[0], 4.0), S2_FRAMES[0], max(silent[1], 4.0))
    deviations = (S1_FRAMES[1], SYSTOLE_DEVIATION, S2_FRAMES[1], max(DIASTOLE_DEVIATION_OF_PERIOD * period, 2.0))
    length = np.arange(1, round(max(m + 4 * d for m, d in zip(means, deviations, strict=True))) + 1)
    z = (length - np.array(means)[:, None]) / np.array(deviations)[:, None]
    return np.asarray(-0.5 * z**2 - np.log(np.array(deviations))[:, None])


def _viterbi(log_odds: Array, durations: Array) -> NDArray[np.int64]:
    """Most likely states (frames,) of a semi-Markov model that goes round S1, systole, S2, diastole.

    A stretch of frames that say nothing goes before and after, so that the recording may begin and end in any state.
    """
    longest = durations.shape[1]
    odds = np.concatenate([np.zeros(longest), log_odds, np.zeros(longest)])
    sound, quiet = -np.logaddexp(0, -odds), -np.logaddexp(0, odds)
    summed = np.cumsum(np.stack([sound, quiet, sound, quiet]), axis=1)
    summed = np.concatenate([np.zeros((4, 1)), summed], axis=1)
    frames = len(odds)
    best = np.full((4, frames + 1), -np.inf)  # of all ways to finish a state before this frame
    best[:, 0] = 0.0
    lasted = np.zeros((4, frames + 1), np.int64)
    order = np.roll(np.arange(4), 1)
    for end in range(1, frames + 1):
        reach = min(end, longest)
        starts = end - 1 - np.arange(reach)
        scores = best[order][:, starts] + durations[:, :reach] + summed[:, end : end + 1] - summed[:, starts]
        lasted[:, end] = scores.argmax(axis=1) + 1
        best[:, end] = scores.max(axis=1)
    states = np.empty(frames, np.int64)
    end, state = frames, int(best[:, frames].argmax())
    while end > 0:
        start = end - lasted[state, end]
        states[start:end] = state
        end, state = start, (state - 1) % 4
    return states[longest:-longest]
