"""The verb demo: index the sample recordings that come with mmret, and search them by text."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmret.cli.index import Json, Model, open_index
from mmret.cli.paths import typed_path
from mmret.cli.printing import counted, note, print_json, shown
from mmret.cli.reporting import how_much

if TYPE_CHECKING:
    from mmret.tasks.search import AddReport, Hit, Index

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
QUERIES = ("a sheep bleating", "thunder in the distance", "people clapping their hands", "a saw cutting wood")
HITS = 3


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("demo")(demo)


def demo(
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="INDEX", help="Keep the index in this folder; else it is forgotten.", parser=typed_path
        ),
    ] = None,
    model: Model = None,
    json: Json = False,
) -> None:
    """Index the sample recordings and search them by text."""
    from mmret.errors import DataLayoutError

    if not SAMPLES.is_dir():
        raise DataLayoutError(f"the sample recordings are not at {SAMPLES}: install mmret again")
    with _folder(to) as folder, open_index(folder, model=model, create=True) as index:
        failed = _add_samples(index, json)
        for query in QUERIES:
            _print_hits(query, index.search(query, k=HITS), json)
    if not json:
        _print_next_steps(to)
    if failed:
        raise typer.Exit(1)


@contextmanager
def _folder(to: Path | None) -> Iterator[Path]:
    if to is not None:
        yield to
        return
    with tempfile.TemporaryDirectory(prefix="mmret-demo-") as scratch:
        yield Path(scratch) / "index"


def _add_samples(index: Index, json: bool) -> bool:
    """Index the samples and say so; whether any of them failed."""
    report = index.add(SAMPLES)
    for failed in report.failed:
        note(f"{shown(failed.path)}: {shown(failed.reason)}")
    if not json:
        typer.echo(_summary(report, shown(index.model)))
    return bool(report.failed)


def _summary(report: AddReport, model: str) -> str:
    if report.skipped and not report.added:
        return f"{counted(report.skipped, 'recording')} indexed with {model} before"
    known = f", {report.skipped} more were there" if report.skipped else ""
    return f"{counted(report.added, 'recording')} ({how_much(report)}) indexed with {model}{known}"


def _print_hits(query: str, hits: list[Hit], json: bool) -> None:
    if json:
        for hit in hits:
            print_json({"query": query, **asdict(hit)})
        return
    typer.echo(f'\n"{query}"')
    for hit in hits:
        # an index that was there before may hold recordings from elsewhere
        path = hit.path.relative_to(SAMPLES) if hit.path.is_relative_to(SAMPLES) else hit.path
        typer.echo(f"{hit.score:8.3f}  {hit.start_s:5.1f} - {hit.stop_s:4.1f} s  {shown(path)}")


def _print_next_steps(to: Path | None) -> None:
    index = shown(to) if to is not None else "indexes/sounds"
    program = shown(_program())
    typer.echo("\nNow with recordings of your own:")
    typer.echo(f"  {program} index FOLDER --to {index}")
    typer.echo(f'  {program} search {index} "a dog barking"')


def _program() -> str:
    """What runs mmret from here: its name, or where that is not on the path, as in `make demo`, its place."""
    if shutil.which("mmret"):
        return "mmret"
    place = Path(sys.executable).with_name("mmret")
    if not place.is_file():
        return f"{shlex.quote(sys.executable)} -m mmret"
    return shlex.quote(str(place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place))
