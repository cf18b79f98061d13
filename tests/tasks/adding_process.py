"""Adds a folder to an index with the fake encoder and prints how many files are safe: for tests that kill it."""

from __future__ import annotations

import sys

from mmret.tasks import indexing
from mmret.tasks.search import Index
from tests.tasks.fake_encoder import FakeEncoder

if __name__ == "__main__":
    indexing.WINDOWS_PER_COMMIT = 6  # so that a short run has many commits, and long files are written in parts
    indexing.WINDOWS_PER_CALL = 4
    with Index.open(sys.argv[1], FakeEncoder()) as index:
        print("open", flush=True)
        index.add(sys.argv[2], progress=lambda state: print(state.files, flush=True))
