"""What each choice of pre-training gives at mini size: the arms of three studies, three seeds each.

    python eval/pretraining_study.py target --work WORK --corpus LOG_MELS --esc50 ESC-50
    python eval/pretraining_study.py background --work WORK --corpus LOG_MELS --esc50 ESC-50 --digits DIGITS
    python eval/pretraining_study.py speech --work WORK --corpus LOG_MELS --esc50 ESC-50 --digits DIGITS --voices VOICES

"target": what the hidden patches are predicted from. "background": M2D-X on a small set of spoken digits, from the M2D
of "target" with the same seed, which is the teacher as well. "speech": M2D-S against M2D on speech. LOG_MELS is what
train/mini/log_mels.py makes. Every run is a recipe of train/ in a process of its own, kept in WORK with what the frozen
encoder reaches in the probes of eval/study_probes.py; a stopped study goes on where it was. Writes one
eval/results/pretraining_STUDY_NUMBER.json an arm, with the mean and the standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from study_corpora import digits_corpus, speech_corpus  # the neighbouring scripts
from study_probes import (
    STRENGTH,
    Embed,
    Spoken,
    embedder,
    log_mel_mean,
    probe_digits,
    probe_esc50,
    probe_voices,
    spoken_digits,
)

from mmret.cli.script import run_script
from mmret.metrics.result_file import write_result
from mmret.models import M2DConfig, M2DModel

ROOT = Path(__file__).resolve().parents[1]
# Mini size: m2d_mini.yaml with four blocks of width 128, 2.08 s and batches of 32.
SIZE = ("--model.input_size", "[80, 208]", "--model.embed_dim", "128", "--model.depth", "4", "--model.num_heads", "4")
RUN = ("--batch_size", "32", "--base_learning_rate", "8e-3", "--save_every", "500", "--log_every", "50")
RANDOM = M2DConfig(input_size=(80, 208), embed_dim=128, depth=4, num_heads=4, norm_mean=-8.608, norm_std=4.762)
WARMUP = 0.075  # share of the steps
# The published target remembers a fourteenth of a run at its start and a third at its end.
MEMORY = (14, 3)
NEEDED: dict[str, tuple[str, ...]] = {"target": (), "background": ("digits",), "speech": ("digits", "voices")}
STEPS = {"target": 700, "background": 250, "speech": 400}

Source = Literal["trained", "random", "base", "log-mel"]


@dataclass(frozen=True)
class Arm:
    """One row: how its encoder comes about, and for a trained one the recipe, its configuration and its settings."""

    name: str
    label: str
    source: Source = "trained"
    command: Sequence[str] = ()


PLAIN = ("m2d.py", "m2d_mini.yaml", "--data-dir", "{corpus}")
FURTHER = ("m2d_x.py", "m2d_mini.yaml", "--data-dir", "{digits}", "--start-from", "{base}", "--teacher", "{base}")
FURTHER += ("--background-dir", "{corpus}")
SPEECH = ("m2d_s.py", "m2d_s_mini.yaml", "--data-dir", "{speech}", "--background-dir", "{corpus}")
SPEECH += ("--data.min_samples", "0", "--data.monitored", "0")
ALONE, DISTIL = ("--model.offline_task", "none"), ("--model.offline_task", "distil")
NOISE = ("--data.noise_ratio", "0.3")
PIXELS = ("--model.prediction_target", "pixels", "--model.token_loss", "mse", "--model.standardise_target", "false")

LOG_MEL = Arm("log_mel", "log-mel mean", "log-mel")
UNTRAINED = Arm("random", "random weights", "random")
STUDIES: dict[str, tuple[Arm, ...]] = {
    "target": (
        LOG_MEL,
        UNTRAINED,
        Arm("msm_mae", "MSM-MAE: hidden patches themselves", command=(*PLAIN, *PIXELS)),
        Arm("all", "target network sees all patches", command=(*PLAIN, "--model.target_input", "all")),
        Arm("m2d", "M2D: target network sees hidden patches alone", command=PLAIN),
    ),
    "background": (
        LOG_MEL,
        Arm("base", "M2D, not trained further", "base"),
        Arm("plain", "further pre-training", command=FURTHER),
        Arm("noise", "+ background noise 0.3", command=(*FURTHER, *NOISE)),
        Arm("task", "+ additional task", command=(*FURTHER, *DISTIL)),
        Arm("both", "+ both: M2D-X", command=(*FURTHER, *NOISE, *DISTIL)),
    ),
    "speech": (
        LOG_MEL,
        Arm("m2d", "M2D, patches 16x16", command=("m2d.py", "m2d_mini.yaml", "--data-dir", "{speech}")),
        Arm("patches", "M2D, patches 80x4", command=(*SPEECH, *ALONE, "--data.noise_ratio", "0")),
        Arm("noise", "+ background noise 0.2", command=(*SPEECH, *ALONE)),
        Arm("m2d_s", "+ distillation: M2D-S", command=SPEECH),
    ),
}


class Study:
    """One study: its folders, its runs and its probes."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        self.name, self.work, self._args = name, args.work, args
        self._kept = args.work / "log_mels"

    def folders(self, seed: int) -> dict[str, str]:
        """What stands for the words in braces of a command."""
        found = {"corpus": self._args.corpus, "base": self.work / "target" / "m2d" / str(seed) / "model"}
        if self.name == "background":
            found["digits"] = digits_corpus(self._spoken(), self.work / "corpora" / "digits")
        elif self.name == "speech":
            found["speech"] = speech_corpus(self._spoken(), self._args.voices, self.work / "corpora" / "speech")
        return {name: str(path) for name, path in found.items()}

    def measure(self, arm: Arm, seed: int) -> dict[str, float]:
        """Figures of one run, trained first where it is not there yet."""
        run = self.work / self.name / arm.name / str(seed)
        path = run / "metrics.json"
        if not path.is_file():
            figures = self._probe(self._embed(arm, seed, run))
            run.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(figures) + "\n")
        figures = json.loads(path.read_text())
        print(f"{self.name} {arm.name} {seed}: {figures}", flush=True)
        return dict(figures)

    def _embed(self, arm: Arm, seed: int, run: Path) -> Embed:
        if arm.source == "log-mel":
            return log_mel_mean
        if arm.source == "random":
            torch.manual_seed(seed)
            return embedder(M2DModel(RANDOM))
        if arm.source == "trained" and not (run / "model").is_dir():
            train(arm, seed, STEPS[self.name], self.folders(seed), run)
        return embedder(M2DModel.from_pretrained(self.folders(seed)["base"] if arm.source == "base" else run / "model"))

    def _probe(self, embed: Embed) -> dict[str, float]:
        if self.name == "target":
            return probe_esc50(embed, self._args.esc50, self._kept)
        figures = probe_digits(embed, self._spoken())
        return figures if self.name == "background" else figures | probe_voices(embed, self._args.voices, self._kept)

    def _spoken(self) -> Spoken:
        return spoken_digits(self._args.digits, self._args.esc50, self._kept)


def train(arm: Arm, seed: int, steps: int, folders: Mapping[str, str], run: Path) -> None:
    """Run a recipe as its user does, on one core."""
    recipe, config, *settings = (word.format(**folders) for word in arm.command)
    decays = ", ".join(str(1 - share / steps) for share in MEMORY)
    length = ("--steps", str(steps), "--warmup_steps", str(round(WARMUP * steps)), "--target_decay", f"[{decays}]")
    command = [sys.executable, str(ROOT / "train" / recipe), str(ROOT / "train" / "configs" / config)]
    command += ["--output-dir", str(run), "--seed", str(seed), *SIZE, *RUN, *length, *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    run.mkdir(parents=True, exist_ok=True)
    with (run / "errors.txt").open("a") as errors:
        subprocess.run(command, env=environment, check=True, stderr=errors)


def joined(figures: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | list[float]]]:
    """Mean, standard deviation over seeds and single values, by figure."""
    values = {name: [one[name] for one in figures] for name in figures[0]}
    return {
        name: {"mean": float(np.mean(v)), "deviation": float(np.std(v, ddof=1)) if len(v) > 1 else 0.0, "values": v}
        for name, v in values.items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run a study, seed after seed, and write what its arms reach."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--corpus", type=Path, required=True, help="log-mels of train/mini/log_mels.py")
    parser.add_argument("--esc50", type=Path, required=True)
    parser.add_argument("--digits", type=Path)
    parser.add_argument("--voices", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out-dir", type=Path, default=Path("eval/results"))
    args = parser.parse_args(argv)
    missing = [name for name in NEEDED[args.study] if getattr(args, name) is None]
    if missing:
        parser.error(f"the study {args.study!r} needs --{missing[0]}")

    study, arms = Study(args.study, args), STUDIES[args.study]
    figures = {arm: [] for arm in arms}
    for seed in range(args.seeds):
        for arm in arms:
            if seed == 0 or arm.source != "log-mel":
                figures[arm].append(study.measure(arm, seed))
    for number, arm in enumerate(arms, 1):
        protocol = {"name": f"pretraining_{args.study}", "label": arm.label, "seeds": len(figures[arm])}
        protocol |= {"steps": STEPS[args.study] if arm.source == "trained" else 0, "probe_strength": STRENGTH}
        result = {"protocol": protocol, "model": {"name": arm.name}, "metrics": joined(figures[arm])}
        write_result(args.out_dir / f"pretraining_{args.study}_{number}.json", result)


if __name__ == "__main__":
    run_script(main)
