"""The verb export: a model folder for onnxruntime, without torch."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mmret.cli.index import Json
from mmret.cli.paths import typed_path
from mmret.cli.printing import print_json, shown


class PrecisionName(StrEnum):
    """Numbers of the audio tower."""

    FP32 = "fp32"
    INT8 = "int8"


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("export")(export)


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name, folder or hub id of a model in fp32.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; it must not exist.", parser=typed_path)],
    name: Annotated[str | None, typer.Option("--name", help="Name of the model; the folder's own by default.")] = None,
    precision: Annotated[
        PrecisionName,
        typer.Option(
            "--precision", help="int8 hears twice as fast as fp32 on onnxruntime or faster, vectors nearly the same."
        ),
    ] = PrecisionName.FP32,
    json: Json = False,
) -> None:
    """Write a model folder that runs without torch: in fp32 on every runtime with the same vectors."""
    from mmret._optional import require
    from mmret.encoder.exportable import check_export

    check_export(model, out, precision)  # before torch is loaded
    for package in ("torch", "transformers", "onnx"):
        require(package, extra="models")
    from mmret.encoder.export import export_folder
    from mmret.errors import ModelFormatError

    try:
        folder = export_folder(model, out, name=name, precision=precision)
    except ValueError as error:  # what transformers says of a folder that it cannot make sense of
        raise ModelFormatError(f"{model} cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    if json:
        print_json({"model": folder})
    else:
        typer.echo(f"{shown(folder)} is ready: mmret index PATH --to INDEX --model {shown(folder)}")
