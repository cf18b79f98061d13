"""Measure the memory of indexing and of searching, and the bytes of an index: part of make bench.

python bench/memory.py --out bench/results/memory.json

Each command is a process of its own; its peak is the largest resident set that the system saw. Vectors are mapped, so
those that a search has read count as resident until the system needs the room.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from indexes import bytes_of, write_index
from processes import mmret
from run import describe_machine
from sounds import CLIP_S, write_clips, write_sound

DEFAULT_OUT = Path(__file__).parent / "results" / "memory.json"
QUERY = "rain on a roof"
DTYPES = ("f32", "f16")


def indexing(folder: Path, clips: int, hours: float) -> Iterator[dict[str, Any]]:
    """Peaks of indexing many short recordings, and one long one."""
    sources = {
        f"{clips} clips of {CLIP_S} s": lambda: write_clips(folder / "clips", clips),
        f"one recording of {hours:g} h": lambda: write_sound(folder / "long.flac", round(3600 * hours)),
    }
    for number, (name, make) in enumerate(sources.items()):
        ended = mmret("index", make(), "--to", folder / f"index-{number}", "--json")
        report = json.loads(ended.output)
        yield {
            "name": f"mmret index, {name}",
            "peak_bytes": ended.peak_bytes,
            "cpu_s": ended.cpu_s,
            **{key: report[key] for key in ("added", "windows", "seconds_of_audio")},
        }


def searching(folder: Path, sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Peaks of a text query over indexes of some sizes, and the bytes of those."""
    for windows in sizes:
        for dtype in DTYPES:
            index = folder / f"index-{windows}-{dtype}"
            write_index(index, windows, dtype)
            ended = mmret("search", index, QUERY, "--json")
            sizes_bytes = {f"{part}_bytes": size for part, size in bytes_of(index).items()}
            name = f"mmret search over {windows} windows, {dtype}"
            yield {"name": name, "windows": windows, "dtype": dtype, "peak_bytes": ended.peak_bytes, **sizes_bytes}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"default: {DEFAULT_OUT}")
    parser.add_argument("--clips", type=int, default=1_000)
    parser.add_argument("--hours", type=float, default=3.0, help="length of the long recording")
    parser.add_argument("--windows", type=int, nargs="+", default=[1_000, 100_000], help="sizes of indexes to search")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        results = {
            "machine": describe_machine(),
            "indexing": list(indexing(Path(folder), args.clips, args.hours)),
            "searching": list(searching(Path(folder), args.windows)),
        }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=2) + "\n")
    for result in (*results["indexing"], *results["searching"]):
        print(f"{result['name']:48}{result['peak_bytes'] / 1e6:8.0f} MB")


if __name__ == "__main__":
    main()
