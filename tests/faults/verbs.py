"""What mmret index, remove, compact, salvage and migrate do to an index, with a fake encoder."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmret.errors import MmretError
from mmret.index import IndexStore
from mmret.tasks import indexing
from mmret.tasks.maintenance import check_index, migrate_index, salvage_index
from mmret.tasks.search import Index
from tests.faults.scenarios import State, state, state_after_crash
from tests.index.old_formats import write_old_index
from tests.tasks.fake_encoder import FakeEncoder, write_tone

FILES = 14
Tell = Callable[[int], None]


@dataclass(frozen=True)
class Verb:
    """A command on the index below a folder; `before` prepares the folder, `result` names the index it ends with."""

    name: str
    before: Callable[[Path], None]
    run: Callable[[Path, Tell], None]
    result: str = "index"


def write_sounds(folder: Path) -> None:
    """Short tones, a few long ones among them, in `folder`/sounds."""
    for number in range(FILES):
        seconds = 5.0 if number % 5 == 4 else 0.6
        write_tone(folder / "sounds" / f"{number:02d}.wav", 100 + 97 * number, seconds, seed=number)


def _index(folder: Path, tell: Tell) -> None:
    with Index.open(folder / "index", FakeEncoder()) as index:
        index.add(folder / "sounds", progress=lambda reached: tell(reached.files))


def _filled(folder: Path) -> None:
    _index(folder, lambda files: None)


def _thinned(folder: Path) -> None:
    _filled(folder)
    _remove(folder, lambda files: None)


def _damaged(folder: Path) -> None:
    _thinned(folder)
    path = next((folder / "index" / "vectors").iterdir())
    path.write_bytes(path.read_bytes()[:-100])


def _remove(folder: Path, tell: Tell) -> None:
    with Index.open(folder / "index", None) as index:
        index.remove([folder / "sounds" / f"{number:02d}.wav" for number in (1, 4, 9)])
    tell(1)


def _compact(folder: Path, tell: Tell) -> None:
    with Index.open(folder / "index", None) as index:
        index.compact()
    tell(1)


def _salvage(folder: Path, tell: Tell) -> None:
    if not (folder / "saved").exists():  # a second salvage to the same place is refused
        salvage_index(folder / "index", folder / "saved")
    tell(1)


def _old(folder: Path) -> None:
    write_old_index(folder / "index", 1)


def _migrate(folder: Path, tell: Tell) -> None:
    migrate_index(folder / "index")
    tell(1)


VERBS = (
    Verb("index", lambda folder: None, _index),
    Verb("remove", _filled, _remove),
    Verb("compact", _thinned, _compact),
    Verb("salvage", _damaged, _salvage, "saved"),
    Verb("migrate", _old, _migrate),
)


def small_steps() -> None:
    """Many commits and many vector files even in a small index."""
    logging.disable()
    indexing.WINDOWS_PER_COMMIT = 6
    indexing.WINDOWS_PER_CALL = 4
    from mmret.index import store

    store.SEGMENT_BYTES = 16 * 24 * 4


def fresh(verb: Verb, made: Path, folder: Path) -> Path:
    """The folder in which a verb is run, as it was before; sounds and index are at the same paths every time."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made / verb.name, folder, copy_function=shutil.copy2)
    return folder


def fault_after_stop(verb: Verb, folder: Path, expected: State, told: int) -> str | None:
    """What is wrong after a verb was stopped in `folder`, and after it was run again."""
    try:
        index = folder / verb.result
        if IndexStore.exists(index) and verb.name != "salvage":
            held = state_after_crash(index)
            if verb.name == "index" and len(held) < told:
                return f"{told} files were told as safe, {len(held)} are there"
        elif told and verb.name == "index":
            return f"{told} files were told as safe, there is no index"
        verb.run(folder, lambda files: None)
        if state(index) != expected:
            return "the second run ends elsewhere than an undisturbed one"
        report = check_index(index)
        if report.problems:
            return f"check finds {report.problems}"
    except (MmretError, OSError, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    return None
