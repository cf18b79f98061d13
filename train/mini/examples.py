"""Make training examples of 2.56 s out of clips, with what the tagger says of exactly these samples.

    python train/mini/examples.py WORK_DIR --teacher TAGGER --count 200000

Writes WORK_DIR/examples/: log_mel.npy (N, 80, 256), map.npy (N, steps, 384), logits.npy (N, 527), all float16.
Example i is a pure function of (seed, i): any number of workers writes the same bytes, and a stopped run goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.cli.script import run_script
from mmret.data.tagger import AudioSetTagger

RATE = 16_000
SAMPLES = 40_960
FRAMES = 256
CHUNK = 400
TAGGER_BATCH = 8  # more no longer fits the processor's cache and takes twice the time
ESC50_SHARE = 0.45
MIX_CHANCE = 0.5


class ClipPool:
    """Clips to draw from: rare first tags more often, ESC-50 with a fixed share."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as corpus:
            self._samples = corpus["samples"]
            self._offsets = corpus["offsets"]
            first = corpus["logits"].argmax(axis=1)
            esc = corpus["source"] == "esc50"
        counts = np.bincount(first[~esc], minlength=first.max() + 1)
        weights = np.where(esc, 0, 1 / np.sqrt(np.maximum(counts[first], 3)))
        weights = (1 - ESC50_SHARE) * weights / weights.sum() + ESC50_SHARE * esc / esc.sum()
        self._cumulative = np.cumsum(weights)

    def draw(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """One clip (time,) in [-1, 1]."""
        i = min(np.searchsorted(self._cumulative, rng.random()), len(self._cumulative) - 1)
        return self._samples[self._offsets[i] : self._offsets[i + 1]].astype(np.float32) / 32768


def placed(clip: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A piece of SAMPLES: changed in speed, cropped or repeated, filtered."""
    if rng.random() < 0.25:
        factor = np.exp(rng.uniform(np.log(0.8), np.log(1.25)))
        clip = np.interp(np.arange(0, len(clip) - 1, factor), np.arange(len(clip)), clip).astype(np.float32)
    if len(clip) >= SAMPLES:
        start = rng.integers(len(clip) - SAMPLES + 1)
        piece = clip[start : start + SAMPLES]
    elif rng.random() < 0.7:
        gap = np.zeros(rng.integers(int(0.4 * RATE) + 1), np.float32)
        period = np.concatenate([clip, gap])
        piece = np.tile(period, SAMPLES // len(period) + 1)[:SAMPLES]
    else:
        piece = np.zeros(SAMPLES, np.float32)
        start = rng.integers(SAMPLES - len(clip) + 1)
        piece[start : start + len(clip)] = clip
    return filtered(piece, rng) if rng.random() < 0.25 else piece


def filtered(wave: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Pass through a random filter: six points of -9 to 9 dB over frequency (that of a 129-tap FIR)."""
    gains = 10 ** (np.interp(np.linspace(0, 5, 65), np.arange(6), rng.uniform(-9, 9, 6)) / 20)
    taps = np.roll(np.fft.irfft(gains), 64) * np.hanning(128)
    size = 2 ** int(np.ceil(np.log2(len(wave) + len(taps))))
    spectrum = np.fft.rfft(wave, size) * np.fft.rfft(taps.astype(np.float32), size)
    return np.fft.irfft(spectrum, size)[64 : 64 + len(wave)].astype(np.float32)


def example(pool: ClipPool, rng: np.random.Generator) -> NDArray[np.float32]:
    """One training example (SAMPLES,): a clip, or two at -15 to 15 dB, at a random level."""
    wave = placed(pool.draw(rng), rng)
    if rng.random() < MIX_CHANCE:
        other = placed(pool.draw(rng), rng)
        ratio = 10 ** (rng.uniform(-15, 15) / 20)
        wave = wave + other * np.float32(ratio * _rms(wave) / max(_rms(other), 1e-5))
        wave = wave * np.float32(10 ** (rng.uniform(-35, -12) / 20) / max(_rms(wave), 1e-5))
    elif rng.random() < 0.7:
        wave = wave * np.float32(10 ** (rng.uniform(-12, 6) / 20))
    return wave / max(1.0, float(np.abs(wave).max()))


def _rms(wave: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(wave**2)))


class ExampleMaker:
    """Everything a worker needs, loaded once."""

    def __init__(self, work_dir: Path, teacher: Path) -> None:
        self._pool = ClipPool(work_dir / "clips.npz")
        self._tagger = AudioSetTagger(teacher)
        self._log_mel = LogMel(LogMelConfig())
        self._folder = work_dir / "examples"

    def write(self, rows: Sequence[int], seed: int) -> None:
        """Make the examples of these rows and store them."""
        waves = [example(self._pool, np.random.default_rng([seed, row])) for row in rows]
        wide = [soxr.resample(wave, RATE, 2 * RATE) for wave in waves]
        tags = [self._tagger(wide[start : start + TAGGER_BATCH]) for start in range(0, len(wide), TAGGER_BATCH)]
        columns = {
            "log_mel": np.stack([self._log_mel(wave)[:, :FRAMES] for wave in waves]),
            "map": np.concatenate([tag.map for tag in tags]),
            "logits": np.concatenate([tag.logits for tag in tags]),
        }
        for name, values in columns.items():
            stored = np.load(self._folder / f"{name}.npy", mmap_mode="r+")
            stored[rows[0] : rows[-1] + 1] = values
            stored.flush()


_MAKER: ExampleMaker


def _start_worker(work_dir: Path, teacher: Path) -> None:
    global _MAKER
    _MAKER = ExampleMaker(work_dir, teacher)


def _job(work_dir: Path, chunk: int, count: int, seed: int) -> None:
    done = work_dir / "examples" / "done" / f"{chunk:06d}"
    if not done.exists():
        _MAKER.write(range(chunk * CHUNK, min((chunk + 1) * CHUNK, count)), seed)
        done.touch()


def allocate(folder: Path, count: int, steps: int) -> None:
    """Create the arrays once; rows are filled in later."""
    (folder / "done").mkdir(parents=True, exist_ok=True)
    for name, shape in (("log_mel", (count, 80, FRAMES)), ("map", (count, steps, 384)), ("logits", (count, 527))):
        if not (folder / f"{name}.npy").exists():
            np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, shape)


def main() -> None:
    """Make the examples from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the mn04 tagger")
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    steps = AudioSetTagger(args.teacher)([np.zeros(2 * SAMPLES, np.float32)]).map.shape[1]
    allocate(args.work_dir / "examples", args.count, steps)
    chunks = range(-(-args.count // CHUNK))
    with ProcessPoolExecutor(args.workers, initializer=_start_worker, initargs=(args.work_dir, args.teacher)) as pool:
        jobs = [pool.submit(_job, args.work_dir, chunk, args.count, args.seed) for chunk in chunks]
        for number, job in enumerate(jobs, 1):
            job.result()
            if number % 25 == 0 or number == len(jobs):
                print(f"{min(number * CHUNK, args.count)} of {args.count} examples", flush=True)


if __name__ == "__main__":
    run_script(main)
