"""Watched folders: complete files enter the index, deleted ones leave it, and idleness costs little."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmret.errors import MmretError
from mmret.tasks.progress import AddProgress
from mmret.tasks.search import AddReport, Index
from mmret.tasks.watch import IDLE_SHARE, LONGEST_PAUSE_S, POLL_S, STEADY_S, Clock, Watcher, watch
from tests.tasks.fake_encoder import FakeEncoder, write_tone


class FakeTime:
    """A clock that stands still between sleeps; each sleep runs the next step, and the end of the steps ends all."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.now_s = 1e6
        self.cpu_s = iter(range(0))
        self.pauses_s: list[float] = []
        self._steps = list(steps)
        self.clock = Clock(lambda: self.now_s, lambda: 4e9, lambda: next(self.cpu_s, 0.0), self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.now_s += seconds
        if not self._steps:
            raise KeyboardInterrupt
        self._steps.pop(0)()


class Ears:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, int, int]] = []
        self.messages: list[str] = []

    @contextmanager
    def progress(self) -> Iterator[Callable[[AddProgress], None] | None]:
        yield None

    def report(self, report: AddReport) -> None:
        self.reports.append((report.added, report.gone, len(report.failed)))

    def message(self, text: str) -> None:
        self.messages.append(text)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A folder with one recording."""
    write_tone(tmp_path / "inbox" / "a.wav", 200)
    return tmp_path / "inbox"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """A new index."""
    with Index.open(tmp_path / "index", FakeEncoder()) as opened:
        yield opened


def nothing() -> None:
    """Let a pause go by."""


def run(index: Index, *paths: Path, steps: list[Callable[[], object]]) -> Ears:
    """Watch until the steps are done."""
    time, ears = FakeTime(*steps), Ears()
    with pytest.raises(KeyboardInterrupt):
        watch(index, Watcher(paths, time.clock), ears)
    return ears


def looks(inbox: Path) -> tuple[Callable[[], list[str]], Callable[[], list[str]]]:
    """Two functions: look after a pause, giving the names of complete files; the same, and take them as done."""
    time = FakeTime(*[nothing] * 100)
    watcher = Watcher([inbox], time.clock)

    def look() -> list[str]:
        listing = watcher.look()
        time.clock.sleep(POLL_S)
        return [found.path.name for found in listing.files]

    def take() -> list[str]:
        names = look()
        watcher.done()
        return names

    return look, take


def indexed(index: Index) -> set[str]:
    """Names of the recordings that a search can find."""
    return {hit.path.name for hit in index.search("200 Hz", k=50, merge=None)}


def test_files_come_and_go(index: Index, inbox: Path) -> None:
    ears = run(
        index,
        inbox,
        steps=[lambda: write_tone(inbox / "deep" / "b.wav", 800, seed=1), *[nothing] * 4, (inbox / "a.wav").unlink]
        + [nothing] * 4,
    )
    assert ears.reports == [(1, 0, 0), (1, 0, 0), (0, 1, 0)]
    assert indexed(index) == {"b.wav"}
    assert ears.messages == []


def test_a_changed_file_replaces_its_old_windows(index: Index, inbox: Path) -> None:
    ears = run(index, inbox, steps=[lambda: write_tone(inbox / "a.wav", 800, 5.0), *[nothing] * 4])
    assert ears.reports == [(1, 0, 0), (1, 0, 0)]
    assert index.info().seconds == pytest.approx(5.0)


def test_a_moved_file_stays_in_the_index_under_its_new_name(index: Index, inbox: Path) -> None:
    ears = run(index, inbox, steps=[lambda: (inbox / "a.wav").rename(inbox / "b.wav"), *[nothing] * 4])
    assert ears.reports == [(1, 0, 0), (1, 1, 0)]
    assert index._encoder.encoded == 3  # type: ignore[union-attr]
    assert indexed(index) == {"b.wav"}


def test_a_file_that_grows_is_waited_for(inbox: Path) -> None:
    _, take = looks(inbox)
    assert take() == ["a.wav"]
    growing = inbox / "growing.wav"
    for size in range(1, 6):
        growing.write_bytes(bytes(size))
        assert take() == []
    assert take() == []  # seen for a second
    assert take() == ["growing.wav"]
    assert take() == []
    os.utime(growing, ns=(1, 1))  # same size, another time: looked at again
    assert [take(), take(), take()] == [[], [], ["growing.wav"]]


def test_at_the_start_only_files_of_late_are_waited_for(inbox: Path) -> None:
    write_tone(inbox / "fresh.wav", 800)
    os.utime(inbox / "fresh.wav", (4e9 - STEADY_S / 2, 4e9 - STEADY_S / 2))  # the wall clock says 4e9
    _, take = looks(inbox)
    assert [take(), take(), take()] == [["a.wav"], [], ["fresh.wav"]]


def test_what_the_index_was_not_given_is_listed_again(inbox: Path) -> None:
    look, take = looks(inbox)
    assert [look(), look(), take(), take()] == [["a.wav"], ["a.wav"], ["a.wav"], []]


def test_a_file_that_is_missing_for_a_moment_is_not_gone(index: Index, inbox: Path) -> None:
    away = inbox.parent / "a.wav"
    ears = run(
        index, inbox, steps=[lambda: (inbox / "a.wav").rename(away), lambda: away.rename(inbox / "a.wav"), nothing]
    )
    assert ears.reports == [(1, 0, 0)]


def test_files_deleted_while_nobody_watched_leave_at_the_start(index: Index, inbox: Path) -> None:
    write_tone(inbox / "b.wav", 800, seed=1)
    index.add(inbox)
    (inbox / "a.wav").unlink()
    assert run(index, inbox, steps=[]).reports == [(0, 1, 0)]
    assert indexed(index) == {"b.wav"}


def test_an_empty_folder_fills_and_empties(index: Index, inbox: Path) -> None:
    (inbox / "a.wav").unlink()
    ears = run(
        index,
        inbox,
        steps=[lambda: write_tone(inbox / "b.wav", 800), *[nothing] * 3, (inbox / "b.wav").unlink, *[nothing] * 3],
    )
    assert ears.reports == [(1, 0, 0), (0, 1, 0)]


def test_a_folder_that_is_away_keeps_its_files(index: Index, inbox: Path) -> None:
    away = inbox.parent / "away"
    ears = run(
        index,
        inbox,
        steps=[
            lambda: inbox.rename(away),
            *[nothing] * 4,
            inbox.mkdir,  # as the folder under a disk that is not mounted: another one, and empty
            *[nothing] * 4,
            lambda: (inbox.rmdir(), away.rename(inbox)),
            *[nothing] * 4,
        ],
    )
    assert ears.reports == [(1, 0, 0)]
    assert ears.messages == [f"{inbox} is not there; its files stay in the index until it is back", f"{inbox} is back"]
    assert indexed(index) == {"a.wav"}


def test_a_folder_that_cannot_be_read_keeps_its_files(
    index: Index, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tone(inbox / "deep" / "b.wav", 800, seed=1)
    scandir = os.scandir

    def refused(folder: Path) -> object:
        if folder.name == "deep":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    ears = run(index, inbox, steps=[lambda: monkeypatch.setattr(os, "scandir", refused), *[nothing] * 4])
    assert ears.reports == [(2, 0, 0)]
    assert ears.messages == [f"{inbox / 'deep'}: cannot be read: Permission denied"]


def test_a_watched_folder_that_is_closed_is_told_with_the_reason_and_when_it_opens(
    index: Index, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: Path) -> object:
        raise PermissionError(13, "Permission denied")

    ears = run(
        index,
        inbox,
        steps=[lambda: monkeypatch.setattr(os, "scandir", refused), *[nothing] * 4, monkeypatch.undo, *[nothing] * 4],
    )
    assert ears.reports == [(1, 0, 0)]
    assert ears.messages == [
        f"{inbox} cannot be read (Permission denied); its files stay in the index until it is back",
        f"{inbox} is back",
    ]


def test_a_file_can_be_watched_too(index: Index, inbox: Path) -> None:
    write_tone(inbox / "b.wav", 800, seed=1)
    ears = run(index, inbox / "a.wav", steps=[(inbox / "a.wav").unlink, *[nothing] * 3])
    assert ears.reports == [(1, 0, 0), (0, 1, 0)]


def test_a_path_that_does_not_exist_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(MmretError, match="no such file or folder"):
        Watcher([tmp_path / "missing"])


def test_files_wait_while_another_process_writes(index: Index, inbox: Path) -> None:
    writing = index._store.writer()
    writing.__enter__()
    ears = run(index, inbox, steps=[nothing, nothing, lambda: writing.__exit__(None, None, None), nothing])
    assert len(ears.messages) == 1
    assert "is being written by process" in ears.messages[0]
    assert ears.reports == [(1, 0, 0)]


def test_a_bad_file_is_told_once_and_again_when_it_changes(index: Index, inbox: Path) -> None:
    bad = inbox / "bad.wav"
    bad.write_text("no sound")
    ears = run(index, inbox, steps=[*[nothing] * 4, lambda: bad.write_text("still no sound"), *[nothing] * 4])
    assert ears.reports == [(1, 0, 1), (0, 0, 1)]


@pytest.mark.parametrize(
    ("cost_s", "pause_s"), [(0.0, POLL_S), (0.1, 0.1 / IDLE_SHARE), (1e6, LONGEST_PAUSE_S)], ids=str
)
def test_pauses_grow_with_the_cost_of_looking(index: Index, inbox: Path, cost_s: float, pause_s: float) -> None:
    time = FakeTime()
    time.cpu_s = iter([0.0, cost_s])  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        watch(index, Watcher([inbox], time.clock), Ears())
    assert time.pauses_s == [pytest.approx(pause_s)]
