"""Verbs that make and look after an index: index, info, remove, check."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmret.cli.printing import note, print_json, shown

if TYPE_CHECKING:
    from mmret.tasks.indexing import Decoder
    from mmret.tasks.search import AddProgress, AddReport, Index

DEFAULT_MODEL = "mmret-mini"

IndexFolder = Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of the index.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Model = Annotated[
    str | None, typer.Option("--model", help="Name, folder or hub id of the model; the index knows its own.")
]


class RuntimeName(StrEnum):
    """What runs a model."""

    AUTO = "auto"
    ONNX = "onnx"
    TORCH = "torch"


class StoreName(StrEnum):
    """How vectors are stored."""

    F32 = "f32"
    F16 = "f16"


Runtime = Annotated[RuntimeName, typer.Option("--runtime", help="What runs the model.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command("index")(index)
    app.command("info")(info)
    app.command("remove")(remove)
    app.command("check")(check)


def index(  # noqa: PLR0913 - the options of a command
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Recordings, or folders of them.")],
    to: Annotated[Path, typer.Option("--to", metavar="INDEX", help="Folder of the index, made if it is new.")],
    model: Model = None,
    runtime: Runtime = RuntimeName.AUTO,
    store: Annotated[
        StoreName | None,
        typer.Option("--store", help="How a new index stores vectors; f16 takes half the space.", show_default=False),
    ] = None,
    isolate: Annotated[
        bool, typer.Option("--isolate", help="Decode in processes of their own, for recordings of unknown origin.")
    ] = False,
    json: Json = False,
) -> None:
    """Make recordings searchable: add what is new or changed, skip what is known."""
    from mmret.index.store import IndexStore
    from mmret.tasks.indexing import find_audio
    from mmret.tasks.maintenance import migrate_index

    find_audio(paths)  # a mistyped path is told before a model is loaded or an index made
    if IndexStore.exists(to):
        migrate_index(to)
    with (
        open_index(to, model=model, runtime=runtime, create=True, store=store) as opened,
        _progress() as progress,
        _decoder(isolate) as decode,
    ):
        report = opened.add(paths, progress=progress, decode=decode)
    for failed in report.failed:
        note(f"{shown(failed.path)}: {shown(failed.reason)}")
    if json:
        print_json({"index": to, **asdict(report)})
    else:
        typer.echo(_summary(report, to))
    if report.failed:
        raise typer.Exit(1)


def _decoder(isolate: bool) -> AbstractContextManager[Decoder]:
    from mmret.audio.decode import decode_blocks
    from mmret.audio.isolated import IsolatedDecoder

    return IsolatedDecoder() if isolate else nullcontext(decode_blocks)


def info(folder: IndexFolder, json: Json = False) -> None:
    """Tell what an index holds and which model made it."""
    from mmret.tasks.search import Index

    with Index.open(folder, None) as opened:
        facts = opened.info()
        failures = opened.failures()
    if json:
        print_json({**asdict(facts), "failures": [asdict(failed) for failed in failures]})
        return
    for name, value in (
        ("index", shown(facts.folder)),
        ("model", f"{shown(facts.model)} ({facts.dim} numbers a vector, fingerprint {shown(facts.fingerprint[:12])})"),
        ("windows", f"{facts.windows} of {facts.window_s:g} s every {facts.hop_s:g} s"),
        ("recordings", f"{facts.files} ({duration(facts.seconds)})"),
        ("vectors", f"{facts.vector_bytes / 2**20:.1f} MiB ({shown(facts.dtype)})"),
        ("made", shown(facts.created)),
        ("failed", facts.failed),
    ):
        typer.echo(f"{name:<11} {value}")
    for failed in failures:
        typer.echo(f"  {shown(failed.path)}: {shown(failed.reason)}")


def remove(
    folder: IndexFolder,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Recordings, or folders of them.")],
    json: Json = False,
) -> None:
    """Take recordings out of an index; the recordings themselves stay."""
    from mmret.tasks.search import Index

    with Index.open(folder, None) as opened:
        counts = {path: opened.remove(path) for path in paths}
    for path, count in counts.items():
        if not count:
            note(f"{shown(path)}: not in this index")
    removed = sum(counts.values())
    if json:
        print_json({"index": folder, "removed": removed})
    else:
        typer.echo(f"removed {removed} {'recording' if removed == 1 else 'recordings'}")
    if not all(counts.values()):
        raise typer.Exit(1)


def check(folder: IndexFolder, json: Json = False) -> None:
    """Read every row and vector of an index and list what is damaged."""
    from mmret.tasks.maintenance import check_index

    report = check_index(folder)
    if json:
        print_json({"index": folder, **asdict(report)})
    else:
        for problem in report.problems:
            typer.echo(shown(problem))
        state = f"{len(report.problems)} problems" if report.problems else "nothing is damaged"
        typer.echo(f"{report.windows} windows, {report.vector_bytes / 2**20:.1f} MiB of vectors: {state}")
    if report.problems:
        raise typer.Exit(1)


def open_index(
    folder: Path,
    *,
    model: str | None,
    runtime: str = RuntimeName.AUTO,
    create: bool = False,
    store: str | None = None,
) -> Index:
    """Open an index with its own model, or the one that is asked for."""
    from mmret.encoder import Encoder
    from mmret.index.store import IndexStore
    from mmret.tasks.search import Index

    known = None
    if IndexStore.exists(folder) or not create:
        with Index.open(folder, None) as existing:
            known = existing.model
    wanted = model or known or DEFAULT_MODEL
    encoder = Encoder.from_pretrained(wanted, runtime=runtime)
    # a folder is noted as an absolute path, so that the index opens from anywhere
    name = str(Path(wanted).resolve()) if Path(wanted).is_dir() else wanted
    return Index.open(folder, encoder, model=name, store=store)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds for people.

    >>> duration(3725.4)
    '1:02:05'
    """
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _summary(report: AddReport, folder: Path) -> str:
    parts = [f"{report.added} added ({duration(report.seconds_of_audio)})", f"{report.skipped} known"]
    if report.gone:
        parts.append(f"{report.gone} gone")
    if report.failed:
        parts.append(f"{len(report.failed)} failed")
    return f"{shown(folder)}: {', '.join(parts)}"


@contextmanager
def _progress() -> Iterator[Callable[[AddProgress], None] | None]:
    """A bar on stderr with files a second, where a person looks at it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("indexing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("indexing", total=None, rate="")

        def advance(state: AddProgress) -> None:
            elapsed_s = bar.tasks[0].elapsed or 1e-9
            rate = f"{state.files / elapsed_s:.1f} files/s, {duration(state.seconds_of_audio)} of sound"
            bar.update(task, completed=state.files, total=state.total, rate=rate)

        yield advance
