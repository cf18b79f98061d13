"""The verb murmur score: what a model of heart sounds says of a patient's recordings."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmret.cli.index import Json
from mmret.cli.paths import typed_path
from mmret.cli.printing import note, print_json, shown

if TYPE_CHECKING:
    from mmret.tasks.murmur import PatientReport

DEFAULT_MODELS = ["heart-cycles"]


class DecisionName(StrEnum):
    """How recordings decide about a patient."""

    RULE = "rule"
    AVERAGE = "average"


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    verbs = typer.Typer(help="Score heart sounds. Not a medical device.", no_args_is_help=True)
    verbs.command("score")(score)
    verbs.callback()(_murmur)  # with one verb alone, typer would drop its name
    app.add_typer(verbs, name="murmur")


def _murmur() -> None:
    """Score heart sounds. Not a medical device."""


def score(
    folder: Annotated[
        Path, typer.Argument(metavar="PATIENT_FOLDER", help="Folder with one patient's recordings.", parser=typed_path)
    ],
    model: Annotated[
        list[str],
        typer.Option("--model", help="Folder of train/murmur.py, or shipped name; several count by their mean."),
    ] = DEFAULT_MODELS,
    decision: Annotated[
        DecisionName, typer.Option("--decision", help="One recording decides (rule), or the mean of all.")
    ] = DecisionName.RULE,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Write spectrograms with the scores: PNG, SVG or PDF.", parser=typed_path
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Score the heart sounds of one patient. For research: not a medical device, no diagnosis.

    All recordings below the folder count as one patient's. What is no heart sound is not noticed.

    The model that ships, heart-cycles, tells abnormal from normal: abnormal may be coronary disease, not a murmur.
    """
    from mmret.tasks.murmur import MANY, open_murmur_model, score_patient
    from mmret.tasks.murmur_plot import plot_path, plot_patient

    if plot is not None:  # a mistyped name is told before anything is heard
        plot_path(plot)
    report = score_patient([open_murmur_model(name) for name in model], folder, decision=decision.value)
    if plot is not None:
        plot_patient(report, plot)
    if len(report.recordings) > MANY:
        note(
            f"warning: {len(report.recordings)} recordings were taken as those of one patient, and by --decision "
            f"{report.decision} decide together; if they are of several, give a folder each"
        )
    for file in report.failed:
        note(f"{shown(file.path)}: {shown(file.reason)}")
    if json:
        print_json(as_json(report))
    else:
        _print(report)
    if report.failed:
        raise typer.Exit(1)


def as_json(report: PatientReport) -> dict[str, Any]:
    """One object a patient, with every recording and its pieces."""
    from mmret.tasks.murmur import NO_DEVICE, limits_of

    return {
        "patient": report.patient,
        "label": report.label,
        "decision": report.decision,
        "probabilities": report.probabilities,
        "recordings": [
            {
                "path": one.path,
                "location": one.location,
                "label": one.label,
                "probabilities": one.probabilities,
                "segments": [
                    {"start_s": piece.start_s, "stop_s": piece.stop_s, "probabilities": piece.probabilities}
                    for piece in one.pieces
                ],
            }
            for one in report.recordings
        ],
        "failed": [{"path": file.path, "reason": file.reason} for file in report.failed],
        "notice": NO_DEVICE,
        "limits": limits_of(report),
    }


def _print(report: PatientReport) -> None:
    from mmret.tasks.murmur import NO_DEVICE, limits_of

    many = len(report.recordings)
    taken = f"{many} recordings taken as one patient" if many > 1 else "1 recording"
    typer.echo(f"{shown(report.patient)}: {report.label}, {taken}  ({NO_DEVICE})")
    typer.echo(f"  {limits_of(report)}")
    for one in report.recordings:
        place = f"{one.location}  " if one.location else ""
        scores = "  ".join(f"{name} {value:.2f}" for name, value in one.probabilities.items())
        typer.echo(f"  {shown(one.path)}  {place}{one.label}  {scores}")
