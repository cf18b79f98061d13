"""Measure what a longer recording, more recordings and more windows cost, on one core: part of make bench.

python bench/scale.py --out bench/results/scale.json

CPU seconds; commands with their start, the rest within one process. Temporary files of the largest index take 1.5 GB
for a million windows (TMPDIR says where).
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from indexes import bytes_of, unit_vectors, write_index
from processes import mmret, on_cores
from run import describe_machine
from sounds import CLIP_S, write_clips, write_sound
from threadpoolctl import threadpool_limits

from mmret.index import IndexStore
from mmret.index.search import nearest
from mmret.tasks.maintenance import check_index

DEFAULT_OUT = Path(__file__).parent / "results" / "scale.json"
REPETITIONS = 5
SAMPLE_S = 0.05
MANY = 64  # queries that are asked together
K = 10
QUERY = "rain on a roof"


def lengths(folder: Path, seconds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """`mmret index` of one recording."""
    for length_s in seconds:
        path = write_sound(folder / f"{length_s}.flac", length_s)
        yield {"seconds": length_s, **_indexed(path, folder / f"length-{length_s}")}
        path.unlink()


def files(folder: Path, counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    """`mmret index` of a folder of clips."""
    for count in counts:
        clips = write_clips(folder / f"clips-{count}", count)
        yield {"files": count, "seconds": count * CLIP_S, **_indexed(clips, folder / f"files-{count}")}
        shutil.rmtree(clips)


def windows(folder: Path, counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Storing, opening, searching and checking an index of made-up vectors."""
    for count in counts:
        index = folder / f"windows-{count}"
        stored_s = write_index(index, count)
        yield {
            "windows": count,
            "store_s": stored_s,
            **_searched(index),
            "cold_search_s": median(mmret("search", index, QUERY, "--json").cpu_s for _ in range(REPETITIONS)),
            "check_s": _cpu_s(lambda index=index: _checked(index)),
            **{f"{part}_bytes": size for part, size in bytes_of(index).items()},
        }
        shutil.rmtree(index)


def _indexed(recordings: Path, index: Path) -> dict[str, Any]:
    ended = mmret("index", recordings, "--to", index, "--json")
    report = json.loads(ended.output)
    assert not report["failed"], report
    shutil.rmtree(index)
    return {"cpu_s": ended.cpu_s, "windows": report["windows"]}


def _searched(index: Path) -> dict[str, Any]:
    """CPU seconds of opening, of the first search, which proves every vector, and of a query then, alone or among many.

    The wall time of a query alone says what a person waits for.
    """
    started_s = time.process_time()
    with closing(IndexStore.open(index)) as store:
        opened_s = time.process_time()
        with store.snapshot() as snapshot:
            queries = unit_vectors(MANY, store.dim, np.random.Generator(np.random.PCG64(1)))
            nearest(snapshot, queries[:1], K)
            first_s = time.process_time()
            wall_s = _repeated(lambda: nearest(snapshot, queries[:1], K), time.perf_counter)
            return {
                "open_s": opened_s - started_s,
                "first_query_s": first_s - opened_s,
                "query_s": _repeated(lambda: nearest(snapshot, queries[:1], K), time.process_time),
                "query_wall_s": wall_s,
                "query_of_many_s": _repeated(lambda: nearest(snapshot, queries, K), time.process_time) / MANY,
            }


def _checked(index: Path) -> None:
    problems = check_index(index).problems
    assert not problems, problems


def _repeated(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Median seconds of a call, each sample of enough calls to be measured."""
    calls = max(1, round(SAMPLE_S / max(_cpu_s(call), 1e-6)))
    samples = []
    for _ in range(REPETITIONS):
        started_s = clock()
        for _ in range(calls):
            call()
        samples.append((clock() - started_s) / calls)
    return median(samples)


def _cpu_s(call: Callable[[], object]) -> float:
    started_s = time.process_time()
    call()
    return time.process_time() - started_s


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"default: {DEFAULT_OUT}")
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 60, 600, 3_600], help="lengths of recordings")
    parser.add_argument("--files", type=int, nargs="+", default=[1, 10, 100, 1_000], help="numbers of recordings")
    parser.add_argument("--windows", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    args = parser.parse_args(arguments)
    # numpy made its threads when it was loaded
    with tempfile.TemporaryDirectory() as folder, on_cores(1), threadpool_limits(1):
        results = {
            "machine": describe_machine(),
            "lengths": list(lengths(Path(folder), args.seconds)),
            "files": list(files(Path(folder), args.files)),
            "windows": list(windows(Path(folder), args.windows)),
        }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=2) + "\n")
    for axis in ("lengths", "files", "windows"):
        for point in results[axis]:
            print("  ".join(f"{name} {value:.6g}" for name, value in point.items()))


if __name__ == "__main__":
    main()
