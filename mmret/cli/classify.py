"""The verb classify: which of some labels fits each recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmret.cli.index import DEFAULT_MODEL, Json, Paths, Runtime, RuntimeName
from mmret.cli.printing import note, print_json, shown

if TYPE_CHECKING:
    from mmret.tasks.classify import Classification, FailedFile

    Outcome = Classification | FailedFile

DEFAULT_PROMPT = "{label} can be heard"  # that of mmret.metrics.prompts, which is too heavy for --help


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("classify")(classify)


def classify(
    paths: Paths,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels", help='Labels with commas between them: "dog, rain, siren"; a classifier of yours has its own.'
        ),
    ] = None,
    prompt: Annotated[str, typer.Option("--prompt", help="Sentence made of each label.")] = DEFAULT_PROMPT,
    model: Annotated[
        str, typer.Option("--model", help="Name, folder or hub id of the model, or what mmret finetune wrote.")
    ] = DEFAULT_MODEL,
    runtime: Runtime = RuntimeName.AUTO,
    json: Json = False,
) -> None:
    """Rank labels for each recording, best first, by the cosine between sound and sentence.

    With a classifier that mmret finetune wrote as the model: by the probabilities of its own labels.
    """
    from mmret.tasks.classifier import is_classifier
    from mmret.tasks.classify import FailedFile, find_files

    own = is_classifier(model)
    names = _given_labels(labels, own=own, model=model)
    if "{label}" not in prompt:
        raise typer.BadParameter('the prompt needs {label} in it: "the sound of {label}"')
    files = find_files(paths)  # a mistyped path is told before a model is loaded
    outcomes = _recognised(model, runtime, files) if own else _compared(model, runtime, files, names, prompt)
    failed = False
    for outcome in outcomes:
        if isinstance(outcome, FailedFile):
            failed = True
            note(f"{shown(outcome.path)}: {shown(outcome.reason)}")
        else:
            _print(outcome, json)
    if failed:
        raise typer.Exit(1)


def _given_labels(labels: str | None, *, own: bool, model: str) -> list[str]:
    if own and labels is not None:
        raise typer.BadParameter(f"{model} has labels of its own; leave --labels out")
    if not own and labels is None:
        raise typer.BadParameter('give at least one label: --labels "dog, rain, siren"')
    return parse_labels(labels) if labels is not None else []


def _recognised(model: str, runtime: RuntimeName, files: list[Path | FailedFile]) -> Iterator[Outcome]:
    from mmret.tasks.classifier import open_classifier
    from mmret.tasks.classify import recognise_each

    return recognise_each(open_classifier(model, runtime=runtime), files)


def _compared(
    model: str, runtime: RuntimeName, files: list[Path | FailedFile], labels: list[str], prompt: str
) -> Iterator[Outcome]:
    from mmret.encoder import Encoder
    from mmret.tasks.classify import classify_each

    return classify_each(Encoder.from_pretrained(model, runtime=runtime), files, labels, prompt=prompt)


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
