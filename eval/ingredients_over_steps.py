"""Linear probe of an M2D run at its checkpoints, for the curve: one line {"step", "accuracy"} each, step 0 untrained.

    python eval/ingredients_over_steps.py --data ESC-50 --run M2D_RUN --out train/logs/m2d_mini_probe.jsonl

train/configs/m2d_mini.yaml keeps the checkpoints that this needs. The strength of the probe is fixed, so that points
compare; folds 1-3 against fold 4, as in eval/ingredients.py.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from ingredients import SEED, TEST_FOLD, TRAIN_FOLDS  # the neighbouring scripts
from linear_probe import probe
from safetensors.torch import load_file
from transformers import AutoConfig

import mmret
from mmret.cli.script import run_script
from mmret.data import Clip, read_esc50
from mmret.errors import MmretError
from mmret.models import M2DModel

STRENGTH = 0.1
PREFIX = "model."


def models(run: Path) -> Iterator[tuple[int, M2DModel]]:
    """Step and encoder of every checkpoint of a run, beginning with the untrained one."""
    config = AutoConfig.from_pretrained(run / "model")
    torch.manual_seed(SEED)
    yield 0, M2DModel(config)
    for folder in sorted(run.glob("step-*[0-9]")):
        stored = load_file(folder / "model.safetensors")
        model = M2DModel(config)
        kept = {name.removeprefix(PREFIX): tensor for name, tensor in stored.items()}
        missing = model.load_state_dict(kept, strict=False).missing_keys
        if missing:
            raise MmretError(f"{folder} is no checkpoint of train/m2d.py: it lacks {missing[0]}")
        yield int(re.sub(r"\D", "", folder.name)), model


def accuracy(model: M2DModel, clips: Sequence[Clip]) -> float:
    """Accuracy of the probe on an encoder's scene embeddings."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        features = mmret.Encoder.from_pretrained(folder).encode_audio([clip.path for clip in clips])
    return float(probe(features, clips, [TEST_FOLD], STRENGTH)["metrics"]["accuracy"])


def main(argv: Sequence[str] | None = None) -> None:
    """Probe all checkpoints and write the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder in ESC-50's layout")
    parser.add_argument("--run", type=Path, required=True, help="output folder of train/m2d.py")
    parser.add_argument("--every", type=int, default=1, help="probe only steps that this divides")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)

    clips = read_esc50(arguments.data, folds=[*TRAIN_FOLDS, TEST_FOLD])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w") as file:
        for step, model in models(arguments.run):
            if step % arguments.every == 0:
                file.write(json.dumps({"step": step, "accuracy": round(accuracy(model, clips), 6)}) + "\n")
                file.flush()


if __name__ == "__main__":
    run_script(main)
