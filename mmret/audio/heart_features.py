"""Numbers of a recording of heart sounds that should not tell which device made it.

A device filters: it adds a constant to each band of the log-mel. Every set but `log_mel_statistics` therefore holds
nothing but differences inside one band of one recording, in which that constant cancels: between parts of the cycle,
between percentiles, or correlations over time. Noise does not cancel; it draws the differences towards zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mmret.audio.heart_cycles import (
    FRAMES_PER_SECOND,
    HeartCycles,
    HeartState,
    autocorrelation,
    find_cycles,
    heart_log_mel,
    sound_envelope,
)

Array = NDArray[np.float64]

BANDS = 8  # groups of four neighbouring mel bands, 125 Hz each
EDGE_FRAMES = 2  # at both ends of an interval, where the window still holds the sound beside it
PHASES = (2, 5, 2, 7)  # bins of S1, systole, S2, diastole in the mean cycle
MODULATION_HZ = (0.5, 2.0, 4.0, 8.0, 16.0, 32.0)
PROFILE = 10  # lags in a period
PERCENTILES = (5, 25, 75, 95, 99)


def log_mel_statistics(log_mel: Array, found: HeartCycles) -> Array:
    """Mean, deviation, 10th and 90th percentile and deviation of the difference of each mel band: (160,)."""
    low, high = np.percentile(log_mel, (10, 90), axis=1)
    return np.concatenate([log_mel.mean(axis=1), log_mel.std(axis=1), low, high, np.diff(log_mel).std(axis=1)])


def log_mel_contrast(log_mel: Array, found: HeartCycles) -> Array:
    """The same without what a filter adds: deviations, and percentiles less the mean (128,)."""
    low, high = np.percentile(log_mel, (10, 90), axis=1) - log_mel.mean(axis=1)
    return np.concatenate([log_mel.std(axis=1), low, high, np.diff(log_mel).std(axis=1)])


def cycle_contrast(log_mel: Array, found: HeartCycles) -> Array:
    """Parts of the cycle against each other, in eight bands, medians over beats, and the rhythm: (60,).

    Systole less the sounds, diastole less the sounds, systole less diastole, S1 less S2, the middle of systole less its
    ends, its late half less its early half, and how much systole varies from beat to beat (median absolute deviation).
    """
    bands = band_groups(log_mel)
    s1, s2 = _levels(bands, found, HeartState.S1), _levels(bands, found, HeartState.S2)
    systole = _levels(bands, found, HeartState.SYSTOLE)
    diastole = _levels(bands, found, HeartState.DIASTOLE)
    thirds = _thirds(bands, found)
    centre = [np.median(part, axis=0) for part in (s1, systole, s2, diastole)]
    sounds = (centre[0] + centre[2]) / 2
    shape = np.median(thirds, axis=0)  # (thirds, bands)
    spread = np.median(np.abs(systole - centre[1]), axis=0)
    contrasts = [
        centre[1] - sounds,
        centre[3] - sounds,
        centre[1] - centre[3],
        centre[0] - centre[2],
        shape[1] - (shape[0] + shape[2]) / 2,
        shape[2] - shape[0],
        spread,
    ]
    lengths = [stop - start for start, stop in found.spans(HeartState.DIASTOLE)] or [0]
    rhythm = [found.period_s, found.systole_s / found.period_s, found.regularity]
    return np.concatenate([*contrasts, rhythm, [float(np.std(lengths)) / FRAMES_PER_SECOND]])


def cycle_template(log_mel: Array, found: HeartCycles) -> Array:
    """Median over beats of eight bands in sixteen phases of the cycle, each band less its mean over phases: (128,)."""
    bands = band_groups(log_mel)
    parts = [_phases(bands, found, state, bins) for state, bins in zip(HeartState, PHASES, strict=True)]
    template = np.concatenate(parts)  # (phases, bands)
    return np.asarray((template - template.mean(axis=0)).ravel())


def rhythm_spectrum(log_mel: Array, found: HeartCycles) -> Array:
    """What bands do over time, without any state: (96,).

    For each of eight bands: percentiles less the median, autocorrelation at one period, correlation with the envelope
    of the sounds, and the share of five ranges of modulation frequency.
    """
    bands = band_groups(log_mel)
    percentiles = np.percentile(bands, PERCENTILES, axis=1) - np.median(bands, axis=1)
    period = round(found.period_s * FRAMES_PER_SECOND)
    periodic = [autocorrelation(band, period)[-1] for band in bands]
    envelope = sound_envelope(log_mel)
    together = [_correlation(band, envelope) for band in bands]
    return np.concatenate([percentiles.ravel(), periodic, together, _modulation(bands).ravel()])


def period_profile(log_mel: Array, found: HeartCycles) -> Array:
    """Autocorrelation of eight bands, and of the envelope of the sounds, at tenths of one period: (90,).

    Needs no states: a murmur fills the gaps between the peaks that S1 and S2 leave.
    """
    period = found.period_s * FRAMES_PER_SECOND
    lags = np.rint(np.arange(1, PROFILE + 1) / PROFILE * period).astype(int)
    signals = [*band_groups(log_mel), sound_envelope(log_mel)]
    return np.concatenate([autocorrelation(signal, int(lags[-1]))[lags] for signal in signals])


def band_groups(log_mel: Array) -> Array:
    """Mean over groups of four mel bands: (32, frames) -> (8, frames)."""
    return np.asarray(log_mel.reshape(BANDS, -1, log_mel.shape[1]).mean(axis=1))


def whole_cycle(log_mel: Array, found: HeartCycles) -> Array:
    """Contrast, template and profile of the cycle side by side: (278,)."""
    return np.concatenate([part(log_mel, found) for part in (cycle_contrast, cycle_template, period_profile)])


def all_contrasts(log_mel: Array, found: HeartCycles) -> Array:
    """Every set in which a filter cancels, side by side: (502,)."""
    parts = (log_mel_contrast, cycle_contrast, cycle_template, rhythm_spectrum, period_profile)
    return np.concatenate([part(log_mel, found) for part in parts])


FeatureSet = Callable[[Array, HeartCycles], Array]
HEART_FEATURES: Mapping[str, FeatureSet] = {
    "log_mel_statistics": log_mel_statistics,
    "log_mel_contrast": log_mel_contrast,
    "cycle_contrast": cycle_contrast,
    "cycle_template": cycle_template,
    "rhythm_spectrum": rhythm_spectrum,
    "period_profile": period_profile,
    "whole_cycle": whole_cycle,
    "all_contrasts": all_contrasts,
}


def heart_features(waveform: NDArray[np.float32], names: Iterable[str] = tuple(HEART_FEATURES)) -> dict[str, Array]:
    """Sets of features of a waveform (time,) at 2 kHz, by name."""
    log_mel = heart_log_mel(waveform)
    found = find_cycles(log_mel)
    return {name: HEART_FEATURES[name](log_mel, found) for name in names}


def _levels(bands: Array, cycles: HeartCycles, state: HeartState) -> Array:
    """Mean level of each stretch of a state (beats, bands); zeros for a state that never occurs whole."""
    spans = [_inner(span, state) for span in cycles.spans(state)]
    levels = [bands[:, start:stop].mean(axis=1) for start, stop in spans]
    return np.stack(levels) if levels else np.zeros((1, len(bands)))


def _thirds(bands: Array, cycles: HeartCycles) -> Array:
    """Levels of the three thirds of each systole: (beats, 3, bands)."""
    spans = [_inner(span, HeartState.SYSTOLE) for span in cycles.spans(HeartState.SYSTOLE)]
    thirds = [_binned(bands[:, start:stop], 3) for start, stop in spans]
    return np.stack(thirds) if thirds else np.zeros((1, 3, len(bands)))


def _phases(bands: Array, cycles: HeartCycles, state: HeartState, bins: int) -> Array:
    """Median over beats of a state cut into equal bins: (bins, bands)."""
    beats = [_binned(bands[:, start:stop], bins) for start, stop in cycles.spans(state)]
    return np.asarray(np.median(beats, axis=0)) if beats else np.zeros((bins, len(bands)))


def _binned(bands: Array, bins: int) -> Array:
    """Means of bins of equal length (bins, bands) of bands (bands, frames); short stretches repeat frames."""
    edges = np.linspace(0, bands.shape[1], bins + 1)
    starts = np.minimum(np.floor(edges[:-1]).astype(int), bands.shape[1] - 1)
    stops = np.maximum(np.ceil(edges[1:]).astype(int), starts + 1)
    return np.stack([bands[:, start:stop].mean(axis=1) for start, stop in zip(starts, stops, strict=True)])


def _inner(span: tuple[int, int], state: HeartState) -> tuple[int, int]:
    """A stretch without the frames at its ends that hold some of a neighbouring sound; sounds are kept whole."""
    start, stop = span
    if state in (HeartState.S1, HeartState.S2) or stop - start <= 2 * EDGE_FRAMES + 2:
        return span
    return start + EDGE_FRAMES, stop - EDGE_FRAMES


def _correlation(first: Array, second: Array) -> float:
    """Pearson's correlation; 0 where one of them is constant."""
    a, b = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def _modulation(bands: Array) -> Array:
    """Log share of the power of each band in five ranges of modulation frequency: (ranges, bands)."""
    centred = bands - bands.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centred * np.hanning(bands.shape[1]), axis=1)) ** 2
    hertz = np.fft.rfftfreq(bands.shape[1], 1 / FRAMES_PER_SECOND)
    ranges = [(hertz >= low) & (hertz < high) for low, high in pairwise(MODULATION_HZ)]
    sums = np.stack([power[:, inside].sum(axis=1) for inside in ranges])
    return np.asarray(np.log((sums + 1e-12) / (sums.sum(axis=0) + 1e-9)))
