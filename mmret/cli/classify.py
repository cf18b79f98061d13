"""The verb classify: which of some labels fits each recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmret.cli.index import DEFAULT_MODEL, Json, Runtime, RuntimeName
from mmret.cli.printing import note, print_json, shown

if TYPE_CHECKING:
    from mmret.tasks.classify import Classification

DEFAULT_PROMPT = "{label} can be heard"  # that of mmret.metrics.prompts, which is too heavy for --help


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("classify")(classify)


def classify(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Recordings, or folders of them.")],
    labels: Annotated[str, typer.Option("--labels", help='Labels with commas between them: "dog, rain, siren".')],
    prompt: Annotated[str, typer.Option("--prompt", help="Sentence made of each label.")] = DEFAULT_PROMPT,
    model: Annotated[str, typer.Option("--model", help="Name, folder or hub id of the model.")] = DEFAULT_MODEL,
    runtime: Runtime = RuntimeName.AUTO,
    json: Json = False,
) -> None:
    """Rank labels for each recording, best first; the score is the cosine between sound and sentence."""
    names = parse_labels(labels)
    if "{label}" not in prompt:
        raise typer.BadParameter('the prompt needs {label} in it: "the sound of {label}"')
    from mmret.encoder import Encoder
    from mmret.tasks.classify import FailedFile, classify_each, find_files

    files = find_files(paths)  # a mistyped path is told before a model is loaded
    encoder = Encoder.from_pretrained(model, runtime=runtime)
    failed = False
    for outcome in classify_each(encoder, files, names, prompt=prompt):
        if isinstance(outcome, FailedFile):
            failed = True
            note(f"{shown(outcome.path)}: {shown(outcome.reason)}")
        else:
            _print(outcome, json)
    if failed:
        raise typer.Exit(1)


def parse_labels(text: str) -> list[str]:
    """Labels between commas, each once, in the order given.

    >>> parse_labels("dog, sea waves,,dog")
    ['dog', 'sea waves']
    """
    labels = list(dict.fromkeys(label.strip() for label in text.split(",") if label.strip()))
    if not labels:
        raise typer.BadParameter('give at least one label: --labels "dog, rain, siren"')
    return labels


def _print(outcome: Classification, json: bool) -> None:
    if json:
        scores = [{"label": one.label, "score": one.score} for one in outcome.labels]
        print_json({"path": outcome.path, "labels": scores})
        return
    typer.echo(shown(outcome.path))
    for one in outcome.labels:
        typer.echo(f"{one.score:8.3f}  {shown(one.label)}")
