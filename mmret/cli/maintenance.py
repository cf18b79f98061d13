"""Verbs that keep an index in good order: compact, migrate, check, salvage."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmret.cli.index import IndexFolder, Json, Model, open_index
from mmret.cli.paths import typed_path
from mmret.cli.printing import counted, note, print_json, shown, size

if TYPE_CHECKING:
    from mmret.tasks.deep_check import DeepReport


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command("compact")(compact)
    app.command("migrate")(migrate)
    app.command("check")(check)
    app.command("salvage")(salvage)


def compact(folder: IndexFolder, json: Json = False) -> None:
    """Give back the space of recordings that were removed or replaced."""
    from mmret.tasks.search import Index

    with Index.open(folder, None) as opened:
        report = opened.compact()
    if json:
        print_json({"index": folder, **asdict(report)})
        return
    freed, kept = size(report.freed_bytes), size(report.vector_bytes)
    typer.echo(f"{shown(folder)}: {freed} freed, {kept} kept ({counted(report.windows, 'window')})")


def migrate(folder: IndexFolder, json: Json = False) -> None:
    """Bring an index that an older mmret made to the present format."""
    from mmret.tasks.maintenance import migrate_index

    report = migrate_index(folder)
    if json:
        print_json({"index": folder, **asdict(report)})
    elif report.had == report.has:
        typer.echo(f"{shown(folder)}: has format {report.has} already")
    else:
        typer.echo(f"{shown(folder)}: format {report.had} became {report.has}")


def check(
    folder: IndexFolder,
    deep: Annotated[
        bool, typer.Option("--deep", help="Encode a sample of the recordings again, too, and compare.")
    ] = False,
    model: Model = None,
    json: Json = False,
) -> None:
    """Read every row and vector of an index and list what is damaged."""
    from mmret.tasks.maintenance import check_index

    report = check_index(folder)
    again = None
    if deep and report.problems:
        note("recordings were not encoded again: where something is damaged, that tells no more")
    elif deep:
        with open_index(folder, model=model) as opened:
            again = opened.check_deep()
    problems = [*report.problems, *(again.problems if again else [])]
    if json:
        print_json({"index": folder, **asdict(report), **({"deep": asdict(again)} if again else {})})
    else:
        for problem in problems:
            typer.echo(shown(problem))
        if again:
            _tell(again)
        state = counted(len(problems), "problem") if problems else "nothing is damaged"
        typer.echo(f"{counted(report.windows, 'window')}, {size(report.vector_bytes)} of vectors: {state}")
    if problems or (again and again.tells_nothing):
        raise typer.Exit(1)


def _tell(report: DeepReport) -> None:
    """Say how much was compared, and which recordings of the sample could not be."""
    for paths, reason in ((report.missing, "is not there"), (report.changed, "has changed since it was indexed")):
        for path in paths:
            note(f"{shown(path)}: {reason}, so its windows were not compared")
    if not report.sampled:
        typer.echo("nothing was compared with recordings: the index holds no windows")
        return
    outcome = counted(len(report.problems), "problem") if report.compared else "nothing was compared with recordings"
    away = len(report.missing) + len(report.changed)
    lacking = f"{away} of {counted(report.recordings, 'recording')} in the sample missing or changed"
    told = f"a sample of {report.sampled} of {counted(report.windows, 'window')}, {report.compared} compared: {outcome}"
    typer.echo(f"{told}; {lacking}" if away else told)


def salvage(
    folder: IndexFolder,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder of the new index.", show_default=False, parser=typed_path)
    ],
    json: Json = False,
) -> None:
    """Copy what is whole in a damaged index into a new one, and tell what is lost."""
    from mmret.tasks.maintenance import salvage_index

    report = salvage_index(folder, out)
    for lost in report.lost:
        note(f"{shown(lost.path)}: {lost.reason}, {lost.windows_kept} kept")
    if json:
        print_json({"index": folder, "out": out, **asdict(report)})
    else:
        files, windows = counted(report.files, "whole recording"), counted(report.windows, "window")
        typer.echo(f"{shown(out)}: {files}, {windows}, {len(report.lost)} lost")
    if report.lost:
        raise typer.Exit(1)
