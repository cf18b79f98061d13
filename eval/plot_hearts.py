"""Draw docs/images/hearts.png from eval/results/hearts*.json: every set of features on every database left out.

python eval/plot_hearts.py
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

CHANCE = 50


def draw(axes: Any, results: Sequence[dict[str, Any]]) -> None:
    """A row a result: letters for the databases, a bar for their mean, a ring for random folds."""
    for row, result in enumerate(results):
        metrics = result["metrics"]
        axes.barh(row, 100 * metrics["across"], color="tab:blue", alpha=0.35, height=0.7)
        if "random_folds" in metrics:
            axes.plot(100 * metrics["random_folds"], row, "o", fillstyle="none", color="tab:orange")
        for letter, value in result["per_database"].items():
            axes.text(100 * value, row, letter, ha="center", va="center", fontsize=8)
    axes.axvline(CHANCE, color="tab:red", linewidth=1)
    axes.set_yticks(range(len(results)), [result["protocol"]["label"] for result in results], fontsize=8)
    axes.set(xlim=(10, 103), ylim=(len(results) - 0.5, -0.5), xlabel="mean of sensitivity and specificity, percent")
    axes.set_title(
        "Databases left out: letters, and bars for their mean; rings: random folds; line: chance",
        fontsize=9,
        loc="left",
    )
    axes.grid(axis="x", alpha=0.3)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure from results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("eval/results"))
    parser.add_argument("--out", type=Path, default=Path("docs/images/hearts.png"))
    arguments = parser.parse_args(argv)

    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(arguments.results.glob("hearts*.json"))]
    if not results:
        raise MmretError(f"no hearts*.json in {arguments.results}: make them with eval/hearts.py")
    figure_class = require("matplotlib.figure", extra="plots").Figure
    figure = figure_class(figsize=(10, 1 + 0.32 * len(results)), layout="constrained")
    draw(figure.subplots(), results)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    run_script(main)
