"""Time mmret against its peers, one thread, in one process, as ratios: make bench.

python bench/run.py --out bench/results/speed.json
python bench/run.py --only encoders --out bench/results/encoders.json

A ratio of 3 says that the peer takes three times as long as mmret. Ratios of medians and of minima that are more than
20 % apart are marked as noise: run it again on a quieter machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import distributions
from itertools import chain
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
SHAPING = ("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "LD_PRELOAD")
PACKAGES = (
    "mmret",
    "numpy",
    "soundfile",
    "soxr",
    "faiss-cpu",
    "torch",
    "librosa",
    "nnAudio",
    "ducc0",
    "onnxruntime",
    "openvino",
)
GROUPS = ("operations", "commands", "encoders")
DEFAULT_OUT = Path(__file__).parent / "results" / "speed.json"


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Check and time every operation."""
    import commands
    import encoders
    import faiss
    import operations
    import torch
    from timing import compare

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)

    with tempfile.TemporaryDirectory() as folder:
        groups = {
            "operations": operations.every(Path(folder), args.seconds, args.rows, args.dim),
            "commands": commands.every(Path(folder), args.windows, args.files),
            "encoders": encoders.every(Path(folder), args.layers, args.seconds),
        }
        return [
            {"name": one.name, "largest_difference": one.difference, **one.facts}
            | compare(one.variants, min(args.repetitions, one.most_repetitions), args.sample_s)
            for one in chain.from_iterable(groups[name] for name in args.only)
        ]


def describe_machine() -> dict[str, Any]:
    """Processor, versions and settings that shape the times."""
    from threadpoolctl import threadpool_info

    pools = [{key: value for key, value in pool.items() if key != "filepath"} for pool in threadpool_info()]
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {one.name: one.version for one in distributions() if one.name in PACKAGES},
        "environment": {name: os.environ.get(name) for name in (*THREADS, *SHAPING)},
        "thread_pools": pools,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """One line a variant: CPU ms, and ratios to mmret of medians and minima."""
    lines = [f"{'':44}{'median ms':>10}{'min ms':>10}{'ratio':>8}{'of min':>8}"]
    for result in results:
        lines.append(result["name"] + ("   (noise: run again)" if result["noisy"] else ""))
        for name, times in result["times"].items():
            ratio = result["ratios"].get(name, {"of_medians": 1.0, "of_minima": 1.0})
            figures = f"{times['median_ms']:10.3f}{times['minimum_ms']:10.3f}"
            lines.append(f"    {name:40}{figures}{ratio['of_medians']:8.2f}{ratio['of_minima']:8.2f}")
    return "\n".join(lines)


def _cpu_model() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"default: {DEFAULT_OUT}")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS[:2], help="default: all but encoders")
    parser.add_argument("--seconds", type=int, default=10, help="length of sounds")
    parser.add_argument("--rows", type=int, default=100_000, help="vectors to search")
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--windows", type=int, default=10_000, help="windows of the index of a cold search")
    parser.add_argument("--files", type=int, default=10_000, help="files of a tree that did not change")
    parser.add_argument("--layers", type=int, default=12, help="of the audio tower of ViT-Base's width")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--sample-s", type=float, default=0.05, help="CPU seconds of one sample")
    args = parser.parse_args(arguments)
    os.environ.update(dict.fromkeys(THREADS, "1"))  # before numpy and the others are loaded
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # those that ask for no number of threads see one core
    results = run(args)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"machine": describe_machine(), "operations": results}, indent=2) + "\n")
    sys.stdout.write(f"{table(results)}\n\n{args.out}\n")


if __name__ == "__main__":
    main()
