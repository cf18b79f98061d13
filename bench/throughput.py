"""Measure indexing on one core and on several, and with decoders in processes of their own: part of make bench.

python bench/throughput.py --out bench/results/throughput.json

Runs take turns. Wall time means little while other work takes the cores, so each run tells the share that it took; the
gain is that of the quietest runs, and marked as noise where even those were disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from processes import Ended, mmret, on_cores
from run import describe_machine
from sounds import CLIP_S, write_clips

from mmret.audio.decode import decode_blocks
from mmret.audio.isolated import IsolatedDecoder
from mmret.tasks.indexing import Decoder

DEFAULT_OUT = Path(__file__).parent / "results" / "throughput.json"
FORMATS = ("wav", "flac", "mp3")
RATE = 16_000
QUIET = 0.12  # of the cores' time, which others may take: a run leaves them some, as it starts on one core


def cores(folder: Path, clips: int, repetitions: int) -> dict[str, Any]:
    """`mmret index` of a folder of clips, on one core and on all."""
    recordings = write_clips(folder / "clips", clips)
    most = len(os.sched_getaffinity(0))
    runs: dict[int, list[Ended]] = {1: [], most: []}
    for repetition in range(repetitions):
        for count, ended in runs.items():
            with on_cores(count):
                ended.append(mmret("index", recordings, "--to", folder / f"index-{count}-{repetition}", "--json"))
    audio_h = clips * CLIP_S / 3600
    figures = {count: _figures(ended, audio_h) for count, ended in runs.items()}
    return {
        "clips": clips,
        "clip_s": CLIP_S,
        "cores": most,
        "runs": {count: [_told(one) for one in ended] for count, ended in runs.items()},
        "audio_h_per_cpu_h": figures[1]["audio_h_per_cpu_h"],
        "audio_h_per_h": {count: figure["audio_h_per_h"] for count, figure in figures.items()},
        "gain": figures[most]["audio_h_per_h"] / figures[1]["audio_h_per_h"],
        "noisy": any(figure["others"] > QUIET for figure in figures.values()),
    }


def isolation(folder: Path, clips: int, repetitions: int) -> list[dict[str, Any]]:
    """Decoding clips here and in a worker, start of the worker left out: CPU seconds of both processes."""
    with IsolatedDecoder() as isolated:
        results = []
        for suffix in FORMATS:
            paths = sorted(write_clips(folder / suffix, clips, suffix).iterdir())
            ways: dict[str, Decoder] = {"here": decode_blocks, "isolated": isolated}
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for repetition in range(repetitions + 1):
                for name, decode in ways.items():
                    used_s = _cpu_s(lambda decode=decode, paths=paths: _decoded(decode, paths)) / clips
                    seconds[name] += [used_s] if repetition else []  # the first one warms up
            here, there = (median(seconds[name]) for name in ways)
            results.append({"format": suffix, "here_s": here, "isolated_s": there, "cost": there / here - 1})
    return results


def _figures(runs: Sequence[Ended], audio_h: float) -> dict[str, float]:
    """Audio hours per hour of the quietest run, and per CPU hour."""
    quietest = min(runs, key=lambda run: run.others)
    fastest = min((run for run in runs if run.others <= max(QUIET, quietest.others)), key=lambda run: run.wall_s)
    cpu_s = median(run.cpu_s for run in runs)
    return {
        "audio_h_per_h": 3600 * audio_h / fastest.wall_s,
        "audio_h_per_cpu_h": 3600 * audio_h / cpu_s,
        "others": fastest.others,
    }


def _told(run: Ended) -> dict[str, float]:
    return {name: value for name, value in asdict(run).items() if name != "output"}


def _decoded(decode: Decoder, paths: Sequence[Path]) -> None:
    for path in paths:
        for _ in decode(path, RATE):
            pass


def _cpu_s(call: Callable[[], object]) -> float:
    before_s = time.process_time() + _children_s()
    call()
    return time.process_time() + _children_s() - before_s


def _children_s() -> float:
    """CPU seconds of the processes that this one has started and that still run, to the nanosecond."""
    numbers = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    tasks = [task for number in numbers for task in Path(f"/proc/{number}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"default: {DEFAULT_OUT}")
    parser.add_argument("--clips", type=int, default=300, help="clips to index")
    parser.add_argument("--decoded", type=int, default=20, help="clips of each format to decode")
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        results = {
            "machine": describe_machine(),
            "cores": cores(Path(folder), args.clips, args.repetitions),
            "isolation": isolation(Path(folder), args.decoded, args.repetitions),
        }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps({name: results[name] for name in ("cores", "isolation")}, indent=1))


if __name__ == "__main__":
    main()
