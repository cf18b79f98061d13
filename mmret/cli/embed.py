"""The verb embed: vectors of recordings in a file, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmret.cli.index import DEFAULT_MODEL, Json, Paths, Runtime, RuntimeName
from mmret.cli.paths import typed_path
from mmret.cli.printing import counted, note, print_json, shown
from mmret.cli.stopping import stoppable


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("embed")(embed)


def embed(
    paths: Paths,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="File to write, such as vectors.npz.", parser=typed_path)
    ],
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Vectors of all windows or time columns, with their times.")
    ] = False,
    model: Annotated[str, typer.Option("--model", help="Name, folder or hub id of the model.")] = DEFAULT_MODEL,
    runtime: Runtime = RuntimeName.AUTO,
    json: Json = False,
) -> None:
    """Write the vectors of recordings as numpy arrays: one vector a recording, or with --timestamps one a moment."""
    from mmret.encoder import Encoder
    from mmret.tasks.classify import find_files
    from mmret.tasks.embed import embed_scenes, embed_timestamps, refuse_unusable

    files = find_files(paths)  # a mistyped path is told before a model is loaded
    refuse_unusable(out)
    with stoppable(lambda: note(f"stopped; {shown(out)} was not written")):
        encoder = Encoder.from_pretrained(model, runtime=runtime)
        report = (embed_timestamps if timestamps else embed_scenes)(encoder, files, out)
    for failed in report.failed:
        note(f"{shown(failed.path)}: {shown(failed.reason)}")
    if json:
        facts = {"recordings": report.recordings, "vectors": report.vectors, "dim": encoder.scene_dim}
        failures = [{"path": one.path, "reason": one.reason} for one in report.failed]
        print_json({"out": out if report.vectors else None, **facts, "failed": failures})
    elif report.vectors:
        size = f"{counted(report.vectors, 'vector')} of {encoder.scene_dim} numbers"
        typer.echo(f"{shown(out)}: {size} from {counted(report.recordings, 'recording')}")
    if report.failed:
        raise typer.Exit(1)
