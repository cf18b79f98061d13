"""The verb convert: a published checkpoint becomes a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmret.cli.index import Json
from mmret.cli.paths import typed_path
from mmret.cli.printing import print_json, shown


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("convert")(convert)


def convert(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Published M2D or M2D-CLAP weights (.pth).", parser=typed_path)
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; it must not exist.", parser=typed_path)],
    sample_rate: Annotated[
        int | None, typer.Option("--sample-rate", min=1000, help="Rate in Hz, where the checkpoint leaves it open.")
    ] = None,
    heads: Annotated[
        int | None, typer.Option("--heads", min=1, help="Attention heads, where the width leaves them open.")
    ] = None,
    json: Json = False,
) -> None:
    """Turn a published M2D or M2D-CLAP checkpoint into a model folder for --model."""
    from mmret._optional import require

    for package in ("torch", "transformers"):
        require(package, extra="models")
    from mmret.models.m2d_checkpoint import convert_checkpoint

    folder = convert_checkpoint(checkpoint, out, num_heads=heads, sample_rate=sample_rate)
    if json:
        print_json({"checkpoint": checkpoint, "model": folder})
    else:
        typer.echo(f"{shown(folder)} is ready: mmret index PATH --to INDEX --model {shown(folder)}")
