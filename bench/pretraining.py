"""Time a pre-training step of M2D against a plain PyTorch rendering of the same network, in CPU time.

    python bench/pretraining.py --out bench/results/pretraining.json

Equal weights, masks and batches: the losses must agree to three digits, or no time counts. One process, one thread,
variants in turn. "mmret" is what precision bf16 gives: autocast where the processor has bf16 instructions, attention
written out under it, one fused optimiser; "mmret, float32" is what it gives elsewhere. Memory is the peak of a process
of its own above what it held before the step. The GPU path (bf16 or fp16, fused attention, compile_blocks) runs the
same code and is not timed here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from plain_m2d import CLIP, PlainM2D, PlainStep
from run import THREADS, describe_machine
from timing import compare
from torch import Tensor, nn

from mmret.models import M2DConfig, M2DForPreTraining
from mmret.models.m2d_masking import TokenMask, random_mask
from mmret.training.weights import default_parameter_groups

DEFAULT_OUT = Path(__file__).parent / "results" / "pretraining.json"
FRAMES, PATCH, RATIO = 608, 16, 0.7
LEARNING_RATE, DECAY = 1e-4, 0.999
TOLERANCE = 5e-3  # of a loss near 2: three digits
PREDICTOR = {"decoder_embed_dim": 128, "decoder_depth": 2, "decoder_num_heads": 4}
SIZES = {
    "tiny": {"embed_dim": 192, "depth": 6, "num_heads": 3, **PREDICTOR},
    "small": {"embed_dim": 384, "depth": 12, "num_heads": 6, **PREDICTOR},
    "base": {"embed_dim": 768, "depth": 12, "num_heads": 12,
             "decoder_embed_dim": 512, "decoder_depth": 8, "decoder_num_heads": 16},
}  # fmt: skip
CASES = (("tiny", 4), ("tiny", 16), ("tiny", 64), ("small", 8), ("base", 2), ("base", 4))
BF16 = ("avx512_bf16", "amx_bf16")
VARIANTS = ("mmret", "mmret, float32", "plain PyTorch")


class Step:
    """mmret's own step, with the parts of mmret.training that a step is made of."""

    def __init__(self, model: M2DForPreTraining, *, autocast: bool) -> None:
        self.model, self._autocast = model, autocast
        self._trained = [weight for weight in model.parameters() if weight.requires_grad]
        groups = default_parameter_groups(model, 0.01)
        self._optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95), fused=True)

    def __call__(self, log_mel: Tensor, mask: TokenMask) -> float:
        """Loss before the step."""
        with torch.autocast("cpu", torch.bfloat16) if self._autocast else nullcontext():
            loss = self.model(log_mel, mask=mask).loss
        loss.backward()
        nn.utils.clip_grad_norm_(self._trained, CLIP)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self.model.update_target(DECAY)
        return loss.item()


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 numbers itself."""
    facts = Path("/proc/cpuinfo")
    return facts.is_file() and any(flag in facts.read_text() for flag in BF16)


def steps(size: str, batch: int, names: Sequence[str]) -> dict[str, Any]:
    """Calls that make one step each of these variants, all from the same weights and on the same batch."""
    config = M2DConfig(input_size=(80, FRAMES), patch_size=(PATCH, PATCH), mask_ratio=RATIO, **SIZES[size])
    generator = torch.Generator().manual_seed(0)
    tokens = config.grid_size[0] * config.grid_size[1]
    log_mel, mask = (
        torch.randn(batch, 1, 80, FRAMES, generator=generator),
        random_mask((batch, tokens), RATIO, generator),
    )
    torch.manual_seed(1)
    weights = M2DForPreTraining(config).state_dict()
    made: dict[str, Any] = {}
    for name in names:
        if name == "plain PyTorch":
            plain = PlainM2D(SIZES[size], PATCH, tokens)
            plain.load_state_dict({key: weight.clone() for key, weight in weights.items() if key != "norm_stats"})
            step = PlainStep(plain, LEARNING_RATE, DECAY)
            made[name] = lambda step=step: step(log_mel, mask.ids_shuffle, mask.len_keep)
        else:
            model = M2DForPreTraining(config)
            model.load_state_dict(weights)
            ours = Step(model, autocast=name == "mmret" and has_bf16())
            made[name] = lambda ours=ours: ours(log_mel, mask)
    return made


def case(size: str, batch: int, repetitions: int) -> dict[str, Any]:
    """Losses, times, ratios and memory of one size and batch."""
    variants = steps(size, batch, VARIANTS)
    losses = {name: step() for name, step in variants.items()}
    if max(losses.values()) - min(losses.values()) > TOLERANCE:
        raise ValueError(f"{size}, batch {batch}: the losses {losses} differ; times of unequal steps say nothing")
    result = compare(variants, repetitions, sample_s=0.0)
    per_sample = {name: times["median_ms"] / batch for name, times in result["times"].items()}
    memory = {name: peak_mb(size, batch, name) for name in VARIANTS}
    return {"size": size, "batch": batch, "losses": losses, "ms_per_sample": per_sample, "peak_mb": memory} | result


def peak_mb(size: str, batch: int, name: str) -> float:
    """Peak memory (MB) of two steps in a process of their own, above what it held before them."""
    words = [sys.executable, __file__, "--memory-of", name, "--size", size, "--batch", str(batch)]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def measure_memory(size: str, batch: int, name: str) -> float:
    """Peak of this process (MB) above its present use, over two steps."""
    torch.set_num_threads(1)
    step = steps(size, batch, [name])[name]
    before = _memory_kb("VmRSS")
    for _ in range(2):
        step()
    return (_memory_kb("VmHWM") - before) / 1024


def _memory_kb(field: str) -> int:
    # not getrusage: its peak is inherited from the process that started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])


def table(results: Sequence[dict[str, Any]]) -> str:
    """One line a variant: CPU ms a sample, ratio to mmret, loss and memory."""
    lines = [f"{'':40}{'ms/sample':>10}{'ratio':>8}{'loss':>9}{'peak MB':>9}"]
    for result in results:
        lines.append(
            f"{result['size']}, batch {result['batch']}" + ("   (noise: run again)" if result["noisy"] else "")
        )
        for name in VARIANTS:
            ratio = result["ratios"].get(name, {"of_medians": 1.0})["of_medians"]
            figures = f"{result['ms_per_sample'][name]:10.1f}{ratio:8.2f}{result['losses'][name]:9.4f}"
            lines.append(f"    {name:36}{figures}{result['peak_mb'][name]:9.0f}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"default: {DEFAULT_OUT}")
    parser.add_argument("--repetitions", type=int, default=4)
    parser.add_argument("--cases", type=int, default=len(CASES), help="how many of the sizes, from the smallest")
    parser.add_argument("--memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--size", choices=SIZES, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.memory_of:
        sys.stdout.write(f"{measure_memory(args.size, args.batch, args.memory_of):.1f}\n")
        return
    torch.set_num_threads(1)
    results = [case(size, batch, args.repetitions) for size, batch in CASES[: args.cases]]
    machine = {**describe_machine(), "bf16": has_bf16(), "accelerator": torch.cuda.is_available()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"machine": machine, "cases": results}, indent=2) + "\n")
    sys.stdout.write(f"{table(results)}\n\n{args.out}\n")


if __name__ == "__main__":
    os.environ.update(dict.fromkeys(THREADS, "1"))
    main()
