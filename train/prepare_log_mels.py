"""Turn a folder of recordings into log-mels to train on.

    python train/prepare_log_mels.py AUDIO_DIR OUT_DIR                      one .npy a recording, of its own length
    python train/prepare_log_mels.py AUDIO_DIR OUT_DIR --window-frames 512  one float16 memory map of equal windows

Recordings shorter than 6.1 s are padded with silence, as M2D's own preparation does. OUT_DIR/files.csv lists what was
written, sorted. A recording that cannot be read is named with its reason, the rest is written, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from accelerate import PartialState
from numpy.typing import NDArray

from mmret.audio.decode import AUDIO_SUFFIXES, decode
from mmret.audio.logmel import LogMel, LogMelConfig
from mmret.cli.script import run_script
from mmret.data.log_mel_crops import measure_statistics
from mmret.data.log_mel_folder import LIST_NAME, MAP_NAME, open_log_mels, write_list, write_statistics
from mmret.errors import AudioError, DataLayoutError

SHORTEST_S = 6.1


def recordings(folder: Path) -> list[Path]:
    """Audio files below a folder, relative to it, in order of their names."""
    if not folder.is_dir():
        raise DataLayoutError(f"{folder}: no such folder; give one of recordings")
    found = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not found:
        raise DataLayoutError(f"no recordings in {folder}; looked for {', '.join(sorted(AUDIO_SUFFIXES))}")
    return found


def with_silence(waveform: NDArray[np.float32], sample_rate: int, shortest_s: float) -> NDArray[np.float32]:
    """Waveform (time,), with silence at its end where it is too short."""
    return np.pad(waveform, (0, max(0, round(shortest_s * sample_rate) - len(waveform))))


def store(path: Path, array: NDArray[np.floating]) -> None:
    """Write an .npy file by rename, so that it is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.save(file, array)
    temporary.replace(path)


def write_log_mels(audio_dir: Path, out_dir: Path, sample_rate: int) -> list[str]:
    """Store every recording that is not there yet; return the complaints about those that cannot be read."""
    front_end = LogMel(LogMelConfig.for_rate(sample_rate))
    written, complaints = [], []
    for path in recordings(audio_dir):
        name = f"{path}.npy"
        try:
            if not (out_dir / name).exists():
                waveform = with_silence(decode(audio_dir / path, sample_rate), sample_rate, SHORTEST_S)
                store(out_dir / name, front_end(waveform)[None])
            written.append(name)
        except AudioError as error:
            complaints.append(str(error))
    write_list(out_dir, written)
    return complaints


def log_mels_of(folder: Path, kept: Path, sample_rate: int) -> Path:
    """The folder itself where it holds log-mels, else `kept` with those of its recordings; complaints go to stderr."""
    if (folder / LIST_NAME).is_file() or (folder / MAP_NAME).is_file():
        return folder
    with PartialState().main_process_first():
        if PartialState().is_main_process:
            kept.mkdir(parents=True, exist_ok=True)
            for complaint in write_log_mels(folder, kept, sample_rate):
                print(complaint, file=sys.stderr)
    return kept


def write_map(folder: Path, out_dir: Path, frames: int) -> None:
    """Cut the log-mels of a folder into windows of `frames` and store them as one map; what is left over is dropped."""
    log_mels = open_log_mels(folder)
    windows = [log_mels[row].shape[-1] // frames for row in range(len(log_mels.names))]
    names = [
        name.removesuffix(".npy") for name, count in zip(log_mels.names, windows, strict=True) for _ in range(count)
    ]
    if not names:
        raise DataLayoutError(f"no recording is as long as a window of {frames} frames; choose fewer")
    temporary = out_dir / f"{MAP_NAME}.tmp"
    shape = (len(names), log_mels[0].shape[0], frames)
    array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
    row = 0
    for index, count in enumerate(windows):
        for number in range(count):
            array[row] = log_mels[index][:, number * frames : (number + 1) * frames]
            row += 1
    array.flush()
    temporary.replace(out_dir / MAP_NAME)
    write_list(out_dir, names)
    write_statistics(out_dir, *measure_statistics(open_log_mels(out_dir), frames, np.random.default_rng(0)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code is 1 where a recording could not be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--sample-rate", type=int, default=16_000, choices=(16_000, 32_000))
    parser.add_argument("--window-frames", type=int, help="write one memory map of windows of this many frames")
    args = parser.parse_args(arguments)
    args.out_dir.mkdir(parents=True, exist_ok=True)
    if args.window_frames is None:
        complaints = write_log_mels(args.audio_dir, args.out_dir, args.sample_rate)
    else:
        with tempfile.TemporaryDirectory(dir=args.out_dir) as folder:
            complaints = write_log_mels(args.audio_dir, Path(folder), args.sample_rate)
            write_map(Path(folder), args.out_dir, args.window_frames)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    run_script(main)
