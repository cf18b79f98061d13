"""What each ingredient of training gives: every model by a linear probe, and by class prompts where it reads text.

    python eval/ingredients.py --data ESC-50 --m2d M2D_RUN/model \\
        --row "supervised CLAP from scratch" CLAP_RUN/model --row "+ M2D pre-training" START_RUN/model \\
        --row "+ distillation" mmret-mini

The log-mel mean and the network of --m2d, with random weights and with trained ones, come first; each --row follows in
the order given. One file a row, eval/results/ingredient_NUMBER.json; --only 6 evaluates the sixth alone. Probe:
eval/linear_probe.py on what encode_audio gives, folds 1-3 against fold 4. Prompts: eval/zero_shot.py on fold 4.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from linear_probe import Features, log_mel_features, probe  # the neighbouring scripts
from zero_shot import classify

import mmret
from mmret.cli.script import run_script
from mmret.data import Clip, read_esc50
from mmret.errors import ModelFormatError
from mmret.metrics.prompts import DEFAULT_TEMPLATE
from mmret.metrics.result_file import describe_model, write_result

TRAIN_FOLDS = (1, 2, 3)
TEST_FOLD = 4
SEED = 0
Row = Callable[[Sequence[Clip]], dict[str, Any]]
KEPT = {"acc_pooled": "zero_shot_accuracy", "t2a_map@10_min": "t2a_map@10_min"}


def probe_row(features: Features, clips: Sequence[Clip]) -> dict[str, Any]:
    """Sizes, accuracy of the probe and its interval."""
    figures = probe(features, clips, [TEST_FOLD], None)
    return {
        "sizes": figures["sizes"],
        "metrics": {"probe_accuracy": figures["metrics"]["accuracy"], "probe_strength": figures["metrics"]["strength"]},
        "intervals": {"probe_accuracy": figures["intervals"]["accuracy"]},
    }


def log_mel_row(clips: Sequence[Clip]) -> dict[str, Any]:
    """Figures of the mean over time of the log-mel."""
    return {"model": {"name": "log-mel mean"}, **probe_row(log_mel_features(clips), clips)}


def encoder_row(name: str, clips: Sequence[Clip]) -> dict[str, Any]:
    """All figures of an encoder; those of the prompts are left out where it reads no text."""
    encoder = mmret.Encoder.from_pretrained(name)
    row = {"model": describe_model(encoder), **probe_row(encoder.encode_audio([clip.path for clip in clips]), clips)}
    try:
        figures = classify(encoder, [clip for clip in clips if clip.fold == TEST_FOLD], [DEFAULT_TEMPLATE], [])
    except ModelFormatError:  # an audio tower alone
        return row
    for group in ("metrics", "intervals"):
        row[group] |= {new: figures[group][old] for old, new in KEPT.items()}
    return row


def random_row(folder: str, clips: Sequence[Clip]) -> dict[str, Any]:
    """Figures of the network of an M2D folder with untrained weights; its normalisation stays."""
    from transformers import AutoConfig

    from mmret.models import M2DModel

    torch.manual_seed(SEED)
    with tempfile.TemporaryDirectory() as temporary:
        random = Path(temporary) / "random-m2d"
        M2DModel(AutoConfig.from_pretrained(folder)).save_pretrained(random)
        return encoder_row(str(random), clips)


def rows(arguments: argparse.Namespace) -> list[tuple[str, Row]]:
    """Label and way to the figures of every row, in the order of the table."""
    table: list[tuple[str, Row]] = [("log-mel mean", log_mel_row)]
    if arguments.m2d:
        table.append(("random M2D encoder", partial(random_row, arguments.m2d)))
        table.append(("M2D pre-training", partial(encoder_row, arguments.m2d)))
    return table + [(label, partial(encoder_row, name)) for label, name in arguments.row]


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate all rows and write one result each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder in ESC-50's layout")
    parser.add_argument("--m2d", help="pre-trained M2D folder")
    parser.add_argument("--row", nargs=2, action="append", default=[], metavar=("LABEL", "MODEL"))
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="rows to evaluate, from 1; default: all")
    parser.add_argument("--out-dir", type=Path, default=Path("eval/results"))
    arguments = parser.parse_args(argv)

    clips = read_esc50(arguments.data, folds=[*TRAIN_FOLDS, TEST_FOLD])
    protocol = {
        "name": "ingredient",
        "data": arguments.data.resolve().name,
        "train_folds": list(TRAIN_FOLDS),
        "test_folds": [TEST_FOLD],
        "templates": [DEFAULT_TEMPLATE],
    }
    for number, (label, row) in enumerate(rows(arguments), 1):
        if arguments.only and number not in arguments.only:
            continue
        figures = row(clips)
        path = arguments.out_dir / f"ingredient_{number}.json"
        write_result(path, {"protocol": {**protocol, "label": label}, **figures})
        shown = "  ".join(f"{name} {value:.4f}" for name, value in figures["metrics"].items())
        print(f"{label}: {shown}  -> {path}", flush=True)


if __name__ == "__main__":
    run_script(main)
