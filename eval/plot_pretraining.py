"""Draw docs/images/pretraining.png from eval/results/pretraining_*.json: every arm of each study with its deviation.

python eval/plot_pretraining.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmret._optional import require
from mmret.cli.script import run_script
from mmret.errors import MmretError

STUDIES = {"target": "what hidden patches are predicted from", "background": "M2D-X", "speech": "M2D-S"}
NAMES = {"esc50": "ESC-50", "digit": "digits", "digit_new_speaker": "new speaker", "digit_in_noise": "in noise"}


def draw(axes: Any, results: Sequence[dict[str, Any]], title: str) -> None:
    """A row an arm, a colour a measure: mean over seeds, with the deviation."""
    measures = list(results[0]["metrics"])
    for number, measure in enumerate(measures):
        rows = [row + 0.7 * ((number + 0.5) / len(measures) - 0.5) for row in range(len(results))]
        means = [100 * result["metrics"][measure]["mean"] for result in results]
        deviations = [100 * result["metrics"][measure]["deviation"] for result in results]
        axes.errorbar(means, rows, xerr=deviations, fmt="o", markersize=4, capsize=2, label=NAMES.get(measure, measure))
    axes.set_yticks(range(len(results)), [result["protocol"]["label"] for result in results], fontsize=8)
    axes.set(ylim=(len(results) - 0.5, -0.6), xlabel="accuracy, percent", title=title)
    axes.legend(fontsize=8, ncols=len(measures), loc="upper center", bbox_to_anchor=(0.5, -0.14))
    axes.grid(axis="x", alpha=0.3)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure from results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("eval/results"))
    parser.add_argument("--out", type=Path, default=Path("docs/images/pretraining.png"))
    arguments = parser.parse_args(argv)

    found = {study: sorted(arguments.results.glob(f"pretraining_{study}_*.json")) for study in STUDIES}
    if not all(found.values()):
        raise MmretError(f"studies are missing in {arguments.results}: make them with eval/pretraining_study.py")
    figure_class = require("matplotlib.figure", extra="plots").Figure
    figure = figure_class(figsize=(15, 4), layout="constrained")
    for axes, (study, paths) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        draw(axes, [json.loads(path.read_text(encoding="utf-8")) for path in paths], STUDIES[study])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    run_script(main)
