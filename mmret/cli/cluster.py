"""Verb that prepares approximate searches: cluster."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mmret.cli.index import IndexFolder, Json, Model, open_index
from mmret.cli.printing import counted, print_json, shown


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("cluster")(cluster)


def cluster(
    folder: IndexFolder,
    recall: Annotated[
        float, typer.Option("--recall", min=0.5, max=1.0, help="Share of the nearest windows to be found.")
    ] = 0.99,
    queries: Annotated[
        Path | None,
        typer.Option("--queries", metavar="FILE", help="Sentences to measure with, one a line.", dir_okay=False),
    ] = None,
    model: Model = None,
    json: Json = False,
) -> None:
    """Group the windows of a large index, so that search --approximate reads those near the query alone."""
    with open_index(folder, model=model) as index:
        report = index.cluster(_sentences(queries), recall=recall)
    if json:
        print_json({"index": folder, **asdict(report)})
        return
    typer.echo(
        f"{shown(folder)}: {counted(report.windows, 'window')} in {counted(report.clusters, 'cluster')}; "
        f"a search reads {report.probes} of them, {report.share_read:.1%} of the vectors"
    )
    for one in report.recalls:
        typer.echo(f"  finds {one.recall:.3f} of the 10 nearest windows, measured with {one.queries} {one.kind}")


def _sentences(file: Path | None) -> list[str] | None:
    """Lines of a file that are not empty."""
    if file is None:
        return None
    from mmret.tasks.words import check_words

    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    sentences = [line.strip() for line in text.splitlines() if line.strip()]
    check_words(sentences)
    return sentences
