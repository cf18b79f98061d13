"""Write the tables of docs/results.md from eval/results/*.json, between the markers; other text stays as it is.

python eval/tables.py            rewrite the page, murmurs.md beside it, and the scores in the cards of shipped models
python eval/tables.py --check    exit 1 if one of them is stale
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from mmret.cli.script import run_script
from mmret.errors import MmretError

BEGIN = "<!-- begin generated: python eval/tables.py -->"
END = "<!-- end generated -->"
NEW_PAGE = f"""# Results

Percent, unless said otherwise; brackets hold the 95 % bootstrap interval. The protocol of each figure, with prompts,
folds and versions, stands in its file under `eval/results/`. Figures compare only between equal clips and prompts.

{BEGIN}
{END}
"""

_RETRIEVAL = ("R@1 / 5 / 10", "mAP@10", "median rank")

_DATABASES = "abcdef"
_MURMURS = ("Present", "Unknown", "Absent")

SHIPPED = "mmret-mini"
SHIPPED_HEARTS = "heart-cycles"
HEARTS_PAGE = "murmurs.md"
DEVIATION = "± one standard deviation over seeds"
HEARTS_LABEL = "chosen by the other databases, no encoder"  # of the procedure that made the shipped model

Result = dict[str, Any]
Cells = list[str]


def percent(value: float, interval: Sequence[float] | None = None) -> str:
    """A fraction in percent, with its interval where there is one.

    >>> percent(0.875, [0.84, 0.905])
    '87.5 [84.0, 90.5]'
    """
    return f"{100 * value:.1f}" + (f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else "")


def _zero_shot(result: Result) -> Cells:
    protocol, metrics, intervals = result["protocol"], result["metrics"], result["intervals"]
    return [
        protocol["label"],
        f"{protocol['data']}, folds {', '.join(map(str, protocol['folds']))}",
        _sizes(result),
        "; ".join(f"`{template}`" for template in protocol["templates"]),
        percent(metrics["acc_pooled"], intervals["acc_pooled"]),
        percent(metrics["t2a_map@10_min"], intervals["t2a_map@10_min"]),
        _subset(result.get("subset")),
    ]


def _sizes(result: Result) -> str:
    return f"{result['sizes']['A']} x {result['sizes']['T']}"


def _subset(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return ""
    accuracy = percent(figures["acc_among_subset"], figures["acc_among_subset_interval"])
    return f"{accuracy} ({len(figures['targets'])})"


def _retrieval(result: Result) -> Cells:
    cells = [result["protocol"]["label"], result["protocol"]["data"], _sizes(result)]
    for direction in ("t2a", "a2t"):
        metrics, intervals = result["metrics"][direction], result["intervals"][direction]
        cells.append(" / ".join(percent(metrics[f"hit@{k}"]) for k in (1, 5, 10)))
        cells.append(percent(metrics["map@10"], intervals["map@10"]))
        cells.append(f"{metrics['median_rank']:g}")
    return cells


def _linear_probe(result: Result) -> Cells:
    protocol, sizes = result["protocol"], result["sizes"]
    folds = f"{', '.join(map(str, protocol['train_folds']))} -> {', '.join(map(str, protocol['test_folds']))}"
    accuracy = percent(result["metrics"]["accuracy"], result["intervals"]["accuracy"])
    clips = f"{sizes['train']} -> {sizes['A']}"
    return [protocol["label"], f"{protocol['data']}, folds {folds}", clips, str(sizes["dim"]), accuracy]


def _linear(result: Result) -> Cells:
    protocol, sizes = result["protocol"], result["sizes"]
    test = f"{protocol['data']}, test {', '.join(protocol['test'])}"
    return [protocol["label"], test, str(sizes["dim"]), *_over_seeds(result)]


def _fine_tuning(result: Result) -> Cells:
    protocol = result["protocol"]
    test = f"{protocol['data']}, test {', '.join(protocol['test'])}"
    return [protocol["label"], test, protocol["chosen_by"], *_over_seeds(result)]


def _over_seeds(result: Result) -> Cells:
    """Seeds, and the mean with the half width of its interval."""
    metrics, protocol = result["metrics"], result["protocol"]
    (name,) = [name for name in metrics if not name.endswith("_half_width")]
    width = metrics[f"{name}_half_width"]
    figure = percent(metrics[name]) + ("" if width is None else f" ± {100 * width:.1f}")
    return [", ".join(map(str, protocol["seeds"])), f"{figure} {'mAP' if name == 'map' else ''}".strip()]


def _own_labels(result: Result) -> Cells:
    protocol, sizes, metrics = result["protocol"], result["sizes"], result["metrics"]
    clips = f"{sizes['train']} + {sizes['valid']} -> {sizes['test']}"
    accuracy = percent(metrics["accuracy"], result["intervals"]["accuracy"])
    data = f"{protocol['data']}, split {protocol['split']}"
    return [protocol["label"], data, clips, str(sizes["classes"]), protocol["recipe"], accuracy]


def _ingredient(result: Result) -> Cells:
    metrics, intervals = result["metrics"], result["intervals"]
    figures = ("probe_accuracy", "zero_shot_accuracy", "t2a_map@10_min")
    cells = [percent(metrics[name], intervals[name]) if name in metrics else "" for name in figures]
    return [result["protocol"]["label"], str(result["sizes"]["dim"]), *cells]


def _pretraining(*figures: str) -> Callable[[Result], Cells]:
    """Row of an arm: its steps, its seeds and these figures."""

    def row(result: Result) -> Cells:
        protocol = result["protocol"]
        cells = [protocol["label"], str(protocol["steps"] or ""), str(protocol["seeds"])]
        return cells + [spread(result["metrics"][name], protocol["seeds"]) for name in figures]

    return row


def spread(figure: dict[str, Any], seeds: int) -> str:
    """Mean in percent, with the standard deviation where there are several seeds.

    >>> spread({"mean": 0.5, "deviation": 0.012}, 3)
    '50.0 ± 1.2'
    """
    return percent(figure["mean"]) + (f" ± {100 * figure['deviation']:.1f}" if seeds > 1 else "")


def _with_deviation(metrics: dict[str, float], name: str) -> str:
    """Mean over seeds and their deviation, in percent; blank where the row has no such figure."""
    if name not in metrics:
        return ""
    return f"{percent(metrics[name])} ± {percent(metrics[f'{name}_deviation'])}"


def _hearts(result: Result) -> Cells:
    metrics, sizes = result["metrics"], result["sizes"]
    across = f"{_with_deviation(metrics, 'across')} [{', '.join(map(percent, result['intervals']['across']))}]"
    alone = [percent(result["per_database"][letter]) for letter in _DATABASES]
    others = [
        _with_deviation(metrics, name) for name in ("across_pooled", "auc_across", "across_batch", "random_folds")
    ]
    return [result["protocol"]["label"], str(sizes.get("dim", "")), across, *alone, *others]


def _murmur(result: Result) -> Cells:
    metrics = result["metrics"]
    figures = [metrics["weighted_accuracy"], metrics["uar"], *metrics["recall"]]
    shown = ["" if figure is None else percent(figure) for figure in figures]
    return [result["protocol"]["label"], str(result["protocol"]["split"]), str(result["sizes"]["patients"]), *shown]


TABLES: dict[str, tuple[str, Cells, Callable[[Result], Cells]]] = {
    "zero_shot": (
        "Zero-shot classification, and search with the class prompts",
        [
            "model",
            "clips",
            "A x T",
            "prompt",
            "accuracy",
            "T2A mAP@10 (/min(R, 10))",
            "accuracy among the subset (classes)",
        ],
        _zero_shot,
    ),
    "retrieval": (
        "Retrieval with captions",
        ["model", "clips", "A x T", *(f"{way} {what}" for way in ("T2A", "A2T") for what in _RETRIEVAL)],
        _retrieval,
    ),
    "linear_probe": (
        "Linear probe of fixed features",
        ["features", "clips", "train -> test", "dim", "accuracy"],
        _linear_probe,
    ),
    "own_labels": (
        "Own labels (mmret finetune; brackets: Wilson score interval)",
        ["model, what is learnt", "recordings", "train + valid -> test", "labels", "recipe", "accuracy"],
        _own_labels,
    ),
    "linear": (
        "Linear evaluation by M2D's protocol",
        ["model", "clips", "dim", "seeds", "figure, mean ± half of the 95 % interval over seeds"],
        _linear,
    ),
    "fine_tuning": (
        "Fine-tuning by M2D's protocol",
        ["model", "clips", "epoch chosen by", "seeds", "figure, mean ± half of the 95 % interval over seeds"],
        _fine_tuning,
    ),
    "ingredient": (
        "What each ingredient gives (ESC-50: probe and labels from folds 1-3, tested on fold 4)",
        ["ingredient", "dim", "linear probe", "zero-shot accuracy", "T2A mAP@10 (/min(R, 10))"],
        _ingredient,
    ),
    "pretraining_target": (
        f"Pre-training: what hidden patches are predicted from (linear probe, ESC-50 fold 4; {DEVIATION})",
        ["arm", "steps", "seeds", "accuracy"],
        _pretraining("esc50"),
    ),
    "pretraining_background": (
        f"Pre-training: M2D-X on a small set of spoken digits (linear probe; {DEVIATION})",
        ["arm", "steps", "seeds", "digits", "digits of a new speaker", "digits in noise of 5 dB"],
        _pretraining("digit", "digit_new_speaker", "digit_in_noise"),
    ),
    "pretraining_speech": (
        f"Pre-training: M2D-S against M2D on speech (linear probe; {DEVIATION})",
        ["arm", "steps", "seeds", "digits", "digits of a new speaker", "digits in noise of 5 dB", "speakers"],
        _pretraining("digit", "digit_new_speaker", "digit_in_noise", "speaker"),
    ),
    "hearts": (
        f"Abnormal heart sounds (PhysioNet 2016: mean of sensitivity and specificity, chance 50; {DEVIATION})",
        [
            "features under a linear head",
            "dim",
            "a database left out, mean",
            *_DATABASES,
            "every recording alike",
            "area under ROC, mean",
            "left out, as a batch",
            "random folds",
        ],
        _hearts,
    ),
    "murmur": (
        "Heart murmurs (CirCor DigiScope, patients of the test part)",
        ["model", "split", "patients", "weighted accuracy", "UAR", *(f"recall {name}" for name in _MURMURS)],
        _murmur,
    ),
}


def tables(results: Sequence[Result]) -> str:
    """Markdown of all results, one table a protocol; a protocol without results is left out."""
    parts = []
    for name, (title, header, row) in TABLES.items():
        rows = [row(result) for result in results if result["protocol"]["name"] == name]
        if rows:
            lines = [header, ["---"] * len(header), *rows]
            parts.append("\n".join([f"## {title}", "", *(f"| {' | '.join(cells)} |" for cells in lines)]))
    return "\n\n".join(parts)


def expected_of_hearts(results: Sequence[Result]) -> str:
    """What to expect of the shipped heart model: the mean of left-out databases, and how much one of them lifts it."""
    result = next((one for one in results if one["protocol"]["label"] == HEARTS_LABEL), None)
    if result is None:
        return ""
    metrics, alone = result["metrics"], result["per_database"]
    across = percent(metrics["across"], result["intervals"]["across"])
    best = max(alone, key=alone.__getitem__)
    others = [score for letter, score in alone.items() if letter != best]
    worst = min(alone, key=alone.__getitem__)
    return "\n".join(
        [
            "| mean of sensitivity and specificity, percent, chance 50 | `heart-cycles` |",
            "| --- | --- |",
            f"| mean of six databases, each left out in turn | {across} |",
            f"| the same without database {best}, which alone has {percent(alone[best])} | {percent(fmean(others))} |",
            f"| the worst of the six, {worst} | {percent(alone[worst])} |",
            f"| every recording alike | {percent(metrics['across_pooled'])} |",
        ]
    )


def fill(page: str, generated: str) -> str:
    """The page with the generated text between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise MmretError(f"the page lacks the markers {BEGIN} and {END}: put them where the tables belong")
    return f"{before}{BEGIN}\n\n{generated}\n\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrite the pages, or say whether they are stale; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("eval/results"))
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--card", type=Path, default=Path(f"mmret/pretrained/{SHIPPED}/README.md"))
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a page is stale")
    arguments = parser.parse_args(argv)

    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(arguments.results.glob("*.json"))]
    pages = {arguments.page: tables(results)}
    hearts = arguments.page.parent / HEARTS_PAGE
    if hearts.is_file():
        pages[hearts] = expected_of_hearts(results)
    beside = arguments.card.parent.parent / SHIPPED_HEARTS / "README.md"
    for card, label in ((arguments.card, SHIPPED), (beside, HEARTS_LABEL)):
        if card.is_file():
            pages[card] = tables([result for result in results if _on_card(result["protocol"], label)])
    stale = [page for page, generated in pages.items() if _rewrite(page, generated, dry=arguments.check)]
    if arguments.check:
        for page in pages:
            print(f"{page} is {'stale: run python eval/tables.py' if page in stale else 'up to date'}")
    return int(bool(stale) and arguments.check)


def _on_card(protocol: dict[str, Any], label: str) -> bool:
    """Whether a result belongs on the card of a shipped model: those of hearts on the heart model's alone."""
    return protocol["label"].startswith(label) and (protocol["name"] == "hearts") == (label == HEARTS_LABEL)


def _rewrite(page: Path, generated: str, *, dry: bool) -> bool:
    """Write the page unless it says the same already; tells whether it did not."""
    old = page.read_text(encoding="utf-8") if page.is_file() else None
    new = fill(old or NEW_PAGE, generated)
    if new == old:
        return False
    if not dry:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(new, encoding="utf-8")
    return True


if __name__ == "__main__":
    run_script(main)
