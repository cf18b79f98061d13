"""The verb finetune: a classifier of a user's own labels from a table of recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmret.cli.index import DEFAULT_MODEL, Json
from mmret.cli.paths import typed_path
from mmret.cli.printing import counted, note, print_json, shown
from mmret.cli.progress import counting_bar
from mmret.cli.stopping import stoppable

if TYPE_CHECKING:
    from mmret.tasks.finetune import FinetuneReport, OwnData

DEFAULT_SEED = 42
FEW = 30  # held-out recordings below which the figures say little

Tell = Callable[[int], None] | None


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("finetune")(finetune)


def finetune(  # noqa: PLR0913 - the options of a command are its parameters
    table: Annotated[
        Path,
        typer.Argument(
            metavar="CSV", help="Table with the columns path and label, perhaps split or fold.", parser=typed_path
        ),
    ],
    to: Annotated[
        Path, typer.Option("--to", metavar="FOLDER", help="Folder to write; it must not exist.", parser=typed_path)
    ],
    model: Annotated[str, typer.Option("--model", help="Name, folder or hub id of the model.")] = DEFAULT_MODEL,
    audio: Annotated[
        Path | None,
        typer.Option(
            "--audio",
            metavar="FOLDER",
            help="Folder that the paths are below; the table's own by default.",
            parser=typed_path,
        ),
    ] = None,
    test_fold: Annotated[
        list[str] | None, typer.Option("--test-fold", help="Fold to hold out; may be repeated. The last by default.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the split and of training.")] = DEFAULT_SEED,
    whole: Annotated[bool, typer.Option("--whole", help="Train all weights, not a head alone; on torch.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Recipe for all weights, such as a file of train/configs.",
            parser=typed_path,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Learn to recognise your own labels, and tell how well on recordings that are held out."""
    from mmret.tasks.classifier import refuse_unusable
    from mmret.tasks.finetune import read_own_data

    refuse_unusable(to)
    own = read_own_data(table, audio=audio, test_folds=test_fold, seed=seed)
    _warn(own)
    with counting_bar("listening", len(own.paths)) as tell:
        report = _whole(own, model, to, config, tell) if whole or config else _head(own, model, to, tell)
    _print(report, to, json)


def _head(own: OwnData, model: str, to: Path, tell: Tell) -> FinetuneReport:
    from mmret.encoder import Encoder
    from mmret.heads import LinearConfig
    from mmret.tasks.finetune import OWN_LEARNING_RATE, finetune_head

    config = LinearConfig(learning_rate=OWN_LEARNING_RATE)
    with stoppable(lambda: note(f"stopped; {shown(to)} was not written")):
        encoder = Encoder.from_pretrained(model)
        return finetune_head(own, encoder, model, to, config=config, tell=tell)


def _whole(own: OwnData, model: str, to: Path, config: Path | None, tell: Tell) -> FinetuneReport:
    from mmret._optional import require

    for package in ("torch", "transformers", "accelerate", "yaml"):
        require(package, extra="train")
    from transformers.utils.logging import disable_progress_bar

    from mmret.tasks.fine_tune_recipe import FineTuneRecipe
    from mmret.tasks.finetune_whole import finetune_whole

    disable_progress_bar()  # of each epoch that is saved
    recipe = FineTuneRecipe.from_yaml(config) if config is not None else FineTuneRecipe()
    try:
        return finetune_whole(own, model, to, recipe, tell=tell)
    except (KeyboardInterrupt, SystemExit):  # training ends by the latter, with the exit code of the signal
        note(f"stopped; {shown(to)} was not written")
        raise


def _warn(own: OwnData) -> None:
    """Say what makes the figures worth less than they look."""
    held_out = len(own.split.test)
    if held_out < FEW:
        note(f"warning: {counted(held_out, 'recording')} held out, fewer than {FEW}: the figures will be rough")
    copies = own.held_out_copies
    if copies:
        test, learnt = (shown(path) for path in copies[0])
        more = f", and {len(copies) - 1} more" if len(copies) > 1 else ""
        note(f"warning: {test} is held out, and its copy {learnt} is learnt from{more}: the figures will be too good")


def _print(report: FinetuneReport, to: Path, json: bool) -> None:
    if json:
        print_json({"model": to, **asdict(report)})
        return
    width = max(len("label"), *(len(shown(one.label)) for one in report.labels))
    typer.echo(f"{'label':<{width}}  held out  found  right")
    for one in report.labels:
        typer.echo(f"{shown(one.label):<{width}}  {one.recordings:>8}  {_share(one.recall)}  {_share(one.precision)}")
    low, high = report.accuracy_interval
    interval = f"95 % interval {low:.1%} to {high:.1%}"
    typer.echo(f"{report.accuracy:.1%} of {report.test} held-out recordings are right ({interval})")
    typer.echo(f"learnt from {report.train} others; {report.valid} more told when to stop")
    typer.echo(f"{shown(to)} is ready: mmret classify PATH --model {shown(to)}")


def _share(value: float | None) -> str:
    return "    -" if value is None else f"{value:>5.0%}"
