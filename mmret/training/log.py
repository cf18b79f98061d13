"""What a run reports: lines of JSON, optional TensorBoard scalars, a bar on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from mmret._optional import require

LOG_NAME = "log.jsonl"


class Advance(Protocol):
    """Moves the progress bar to a step and shows a few words beside it."""

    def __call__(self, step: int, words: str) -> None:
        """Show `step` as done."""


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Entries of a log; a line that a crash tore is left out."""
    path = Path(path)
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return [entry for entry in map(_parse, lines) if entry is not None]


def _parse(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) else None


class TrainingLog:
    """log.jsonl of a run, continued after `resumed_step`: what was logged beyond it will be logged again."""

    def __init__(self, folder: Path, resumed_step: int = 0, *, tensorboard: bool = False) -> None:
        """Open for appending."""
        self.path = folder / LOG_NAME
        kept = [entry for entry in read_log(self.path) if entry.get("step", 0) <= resumed_step]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        temporary.replace(self.path)
        self._file = self.path.open("a")
        self._board = _board(folder) if tensorboard else None

    def __enter__(self) -> TrainingLog:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append one line and hand it to the system, so that a killed run leaves it behind."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self._board.add_scalar(name, value, step)


def _board(folder: Path) -> Any:
    require("tensorboard", extra="train")
    return require("torch.utils.tensorboard", extra="train").SummaryWriter(str(folder / "tensorboard"))


@contextmanager
def progress_bar(total: int, done: int, shown: bool) -> Iterator[Advance]:
    """Progress bar on stderr where it is a terminal and `shown`; otherwise nothing."""
    if not (shown and sys.stderr.isatty()):
        yield lambda step, words: None
        return
    rich_progress = require("rich.progress", extra="train")
    console = require("rich.console", extra="train").Console(stderr=True)
    columns = (*rich_progress.Progress.get_default_columns(), rich_progress.TextColumn("{task.fields[words]}"))
    with rich_progress.Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=total, completed=done, words="")
        yield lambda step, words: progress.update(task, completed=step, words=words)
