"""Any order of adding, changing, removing, compacting and reopening leaves what a plain dict would hold."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mmret.tasks.search import Index
from tests.tasks.fake_encoder import FakeEncoder, write_tone

NAMES = st.sampled_from(["a.wav", "b.wav", "deep/c.wav", "deep/d.wav"])
TONES = st.sampled_from([100, 400, 1000, 3000])


class IndexMachine(RuleBasedStateMachine):
    """Files on a disk, an index over them, and a dict that says what the index should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.sounds = self.folder / "sounds"
        self.disk: dict[str, int] = {}
        self.held: dict[str, int] = {}
        self.written = 0

    @initialize()
    def make(self) -> None:
        write_tone(self.sounds / "first.wav", 100, 0.5)
        self.disk["first.wav"] = 100
        self.index = Index.open(self.folder / "index", FakeEncoder())

    @rule(name=NAMES, frequency_hz=TONES)
    def write(self, name: str, frequency_hz: int) -> None:
        path = write_tone(self.sounds / name, frequency_hz, 0.5)
        self.written += 1
        os.utime(path, ns=(self.written, self.written))  # equal tones are equal bytes, at another time
        self.disk[name] = frequency_hz

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        (self.sounds / name).unlink(missing_ok=True)
        self.disk.pop(name, None)

    @rule()
    def add_all(self) -> None:
        report = self.index.add(self.sounds)
        assert report.failed == []
        self.held = dict(self.disk)

    @rule(name=NAMES)
    def add_one(self, name: str) -> None:
        if name in self.disk:
            self.index.add(self.sounds / name)
            self.held[name] = self.disk[name]

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        assert self.index.remove(self.sounds / name) == (name in self.held)
        self.held.pop(name, None)

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.index = Index.open(self.folder / "index", FakeEncoder())

    @rule()
    def compact(self) -> None:
        assert self.index.compact().windows == len(self.held)

    @invariant()
    def search_finds_what_is_held(self) -> None:
        if not hasattr(self, "index"):
            return
        assert len(self.index) == len(self.held)
        for frequency_hz in (100, 400, 1000, 3000):
            found = {
                str(hit.path.relative_to(self.sounds)) for hit in self.index.search(str(frequency_hz), min_score=0.7)
            }
            assert found == {name for name, held_hz in self.held.items() if held_hz == frequency_hz}

    def teardown(self) -> None:
        assert self.index.check().problems == []
        self.index.close()
        shutil.rmtree(self.folder)


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
