"""Verbs that keep an index in good order: compact, migrate, salvage."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mmret.cli.index import IndexFolder, Json
from mmret.cli.printing import counted, note, print_json, shown


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command("compact")(compact)
    app.command("migrate")(migrate)
    app.command("salvage")(salvage)


def compact(folder: IndexFolder, json: Json = False) -> None:
    """Give back the space of recordings that were removed or replaced."""
    from mmret.tasks.search import Index

    with Index.open(folder, None) as opened:
        report = opened.compact()
    if json:
        print_json({"index": folder, **asdict(report)})
        return
    size, freed = (f"{size / 2**20:.1f} MiB" for size in (report.vector_bytes, report.freed_bytes))
    typer.echo(f"{shown(folder)}: {freed} freed, {size} kept ({counted(report.windows, 'window')})")


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


def salvage(
    folder: IndexFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the new index.", show_default=False)],
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
