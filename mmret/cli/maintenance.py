"""Verbs that keep an index in good order: compact."""

from __future__ import annotations

from dataclasses import asdict

import typer

from mmret.cli.index import IndexFolder, Json
from mmret.cli.printing import print_json, shown


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command("compact")(compact)


def compact(folder: IndexFolder, json: Json = False) -> None:
    """Give back the space of recordings that were removed or replaced."""
    from mmret.tasks.search import Index

    with Index.open(folder, None) as opened:
        report = opened.compact()
    if json:
        print_json({"index": folder, **asdict(report)})
        return
    size, freed = (f"{size / 2**20:.1f} MiB" for size in (report.vector_bytes, report.freed_bytes))
    typer.echo(f"{shown(folder)}: {freed} freed, {report.windows} windows take {size}")
