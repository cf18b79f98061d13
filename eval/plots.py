"""Draw docs/images/m2d_mini.png from the committed training logs: loss and linear probe of M2D over the steps.

python eval/plots.py
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
from mmret.training import read_log

BASELINE = ("ingredient_1.json", "log-mel mean")
SOURCES = {
    "m2d_mini.jsonl": "train/m2d.py (log.jsonl of its run)",
    "m2d_mini_probe.jsonl": "eval/ingredients_over_steps.py",
}


def read_required(path: Path, source: str) -> list[dict[str, Any]]:
    """Entries of a log that must be there."""
    entries = read_log(path)
    if not entries:
        raise MmretError(f"no entries in {path}: make it with {source}")
    return entries


def baseline(results: Path) -> dict[str, float]:
    """Probe accuracy of the log-mel mean, if eval/ingredients.py has measured it; step 0 is the random encoder."""
    path = results / BASELINE[0]
    return {BASELINE[1]: json.loads(path.read_text())["metrics"]["probe_accuracy"]} if path.is_file() else {}


def draw_loss(axes: Any, entries: Sequence[dict[str, Any]]) -> None:
    """Loss over steps, logarithmic."""
    losses = [(entry["step"], entry["loss"]) for entry in entries if "loss" in entry]
    axes.plot(*zip(*losses, strict=True), color="tab:blue")
    axes.set(title="M2D loss (2 - 2 cosine of hidden patches)", xlabel="step", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3, which="both")


def draw_probe(axes: Any, points: Sequence[dict[str, Any]], levels: dict[str, float]) -> None:
    """Accuracy of the linear probe over steps, with levels that need no training."""
    axes.plot(
        [p["step"] for p in points],
        [100 * p["accuracy"] for p in points],
        "o-",
        label="M2D (step 0: random weights)",
        color="tab:blue",
    )
    for name, level in levels.items():
        axes.axhline(100 * level, linestyle="--", color="tab:gray", label=name)
    axes.set(title="Linear probe, ESC-50 folds 1-3 against fold 4", xlabel="step", ylabel="accuracy, percent")
    axes.grid(alpha=0.3)
    axes.legend(loc="center right")


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure from logs and results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=Path, default=Path("train/logs"))
    parser.add_argument("--results", type=Path, default=Path("eval/results"))
    parser.add_argument("--out", type=Path, default=Path("docs/images/m2d_mini.png"))
    arguments = parser.parse_args(argv)

    entries, points = (read_required(arguments.logs / name, source) for name, source in SOURCES.items())
    figure_class = require("matplotlib.figure", extra="plots").Figure
    figure = figure_class(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_loss(left, entries)
    draw_probe(right, points, baseline(arguments.results))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=120)


if __name__ == "__main__":
    run_script(main)
