"""Made-up heart sounds, with and without a murmur, and a made-up CirCor tree of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

S1_S, S2_S = 0.10, 0.08


def heart(
    seconds: float,
    *,
    rate: int = 2000,
    murmur: float = 0.0,
    period_s: float = 0.8,
    systole_s: float = 0.3,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Beats (time,) with S1 from the start on, S2 after systole_s; `murmur` is the level of noise between the two."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    phase = time % period_s
    noise = generator.standard_normal(len(time))
    s1 = _burst(phase, 0.0, S1_S) * (np.sin(2 * np.pi * 60 * time) + 0.2 * noise)
    s2 = _burst(phase, systole_s, S2_S) * (np.sin(2 * np.pi * 90 * time) + 0.2 * noise)
    between = ((phase > S1_S) & (phase < systole_s)) * noise
    wave = 0.3 * (s1 + 0.8 * s2 + murmur * between + 0.003 * noise)
    return wave.astype(np.float32)


def _burst(phase: NDArray[np.float64], start_s: float, length_s: float) -> NDArray[np.float64]:
    inside = (phase >= start_s) & (phase < start_s + length_s)
    return inside * np.sin(np.pi * (phase - start_s) / length_s)


def write_circor(root: Path, patients: dict[str, str], *, seconds: float = 6.0) -> Path:
    """The published layout with one recording a patient, two where the murmur is present."""
    folder = root / "training_data"
    folder.mkdir(parents=True)
    rows = []
    for number, (patient, label) in enumerate(patients.items()):
        level = {"Absent": 0.0, "Present": 0.3, "Unknown": 0.05}[label]
        places = ("AV", "MV") if label == "Present" else ("AV",)
        for place in places:
            wave = heart(seconds, rate=4000, murmur=level, seed=number)
            soundfile.write(folder / f"{patient}_{place}.wav", wave, 4000)
        rows.append(f"{patient},{'+'.join(places)},{label},\n")
    (root / "training_data.csv").write_text("Patient ID,Recording locations:,Murmur,Additional ID\n" + "".join(rows))
    return root
