"""The training loop: accumulate, clip, step, average, log, checkpoint; stop at any step and resume exactly."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor, nn

import mmret
from mmret.errors import TrainingError
from mmret.training.checkpoint import Checkpoint, Checkpoints
from mmret.training.config import TrainingConfig
from mmret.training.interrupt import StopRequest, locked_folder
from mmret.training.log import TrainingLog, progress_bar
from mmret.training.optimisers import make_optimiser
from mmret.training.prefetch import Prefetch, StepBatches
from mmret.training.sampler import BatchOrder, seeded_torch, step_seed
from mmret.training.weights import (
    WeightAverage,
    batch_norm_statistics,
    default_parameter_groups,
    load_optimiser_tensors,
    load_stored_tensors,
    optimiser_tensors,
    stored_tensors,
)

log = logging.getLogger(__name__)

COLLECTIVE_TIMEOUT = timedelta(minutes=10)
MAX_SKIPPED_IN_A_ROW = 10
MAX_SKIPPED_SHARE = 0.01
MAX_FAILED_SAVES = 3

Evaluate = Callable[[nn.Module, int], dict[str, float]]


class TrainingData(Protocol):
    """Samples by number. `batch` depends on its arguments alone: it is called ahead, in another thread."""

    def __len__(self) -> int:
        """Count the samples."""
        ...

    def batch(self, indices: Sequence[int], epoch: int, seed: int) -> dict[str, Tensor]:
        """Tensors of these samples in this epoch; draws come from sample_generator(seed, epoch, index)."""
        ...


class Objective(Protocol):
    """An nn.Module whose forward(batch, generator) gives {"loss": scalar, ...}; the other scalars are logged.

    It may have after_step(step, total_steps), called when the weights have moved, with the number of the step from 0,
    and parameter_groups(), a list of the optimiser's groups whose "lr" is the peak of the group.
    """

    def __call__(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Loss of a batch; masks and noise are drawn from the CPU generator."""
        ...


@dataclass(frozen=True)
class FitResult:
    """Where a run ended: steps done, its log and the folder of its last checkpoint."""

    step: int
    log_path: Path
    checkpoint: Path


def fit(
    objective: nn.Module, data: TrainingData, config: TrainingConfig, *, evaluate: Evaluate | None = None
) -> FitResult:
    """Train `objective` on `data`, going on from the newest checkpoint in config.output_dir where there is one.

    `evaluate(objective, step)` is called at every checkpoint, in eval mode, with the averaged weights if there are any.
    The first SIGTERM or SIGINT ends the run after its step with a checkpoint and exit code 143 or 130.
    """
    if not config.output_dir:
        raise TrainingError("output_dir is empty; name the folder of the run")
    accelerator = _accelerator(config)
    folder = Path(config.output_dir)
    with locked_folder(folder) if accelerator.is_main_process else nullcontext():
        run = _Run(accelerator, objective, data, config)
        run.tell(f"goes on from step {run.done} of" if run.done else "starts:", f"steps in {folder}")
        try:
            checkpoint = run.train(evaluate)
            run.tell(f"is at its end: {run.done} of", f"steps, the last checkpoint is {checkpoint}")
        finally:
            accelerator.unwrap_model(run.model, keep_fp32_wrapper=False)
    return FitResult(run.done, folder / "log.jsonl", checkpoint)


def load_weights(objective: nn.Module, checkpoint: str | Path, name: str = "model") -> None:
    """Put the weights of a checkpoint folder into an objective: `model` as trained, `ema` averaged."""
    folder = Path(checkpoint)
    load_stored_tensors(objective, Checkpoint(folder, {}).tensors(name))


def _accelerator(config: TrainingConfig) -> Accelerator:
    # accelerate keeps the precision of the first run of a process; a second one may want another
    AcceleratorState._reset_state()
    try:
        return Accelerator(
            mixed_precision=config.precision, kwargs_handlers=[InitProcessGroupKwargs(timeout=COLLECTIVE_TIMEOUT)]
        )
    except ValueError as error:
        raise TrainingError(f"precision {config.precision} is not possible here: {error}") from error


class _Run:
    """State of one run: the wrapped model, its optimiser, the average and the count of steps."""

    def __init__(
        self, accelerator: Accelerator, objective: nn.Module, data: TrainingData, config: TrainingConfig
    ) -> None:
        self.accelerator, self.objective, self.data = accelerator, objective, data
        self.config = config.in_steps(len(data), accelerator.num_processes)
        self.order = BatchOrder(
            len(data), config.batch_size, config.accumulation,
            accelerator.num_processes, accelerator.process_index, config.seed,
        )  # fmt: skip
        self.schedule = self.config.learning_rate_schedule()
        self.raw_optimiser = _optimiser(objective, self.config)
        self.model, self.optimiser = accelerator.prepare(objective, self.raw_optimiser)
        self.average = WeightAverage(objective, config.ema_decay) if config.ema_decay is not None else None
        self.checkpoints = Checkpoints(config.output_dir, config.keep_last)
        self.done = self.skipped = self.skipped_in_a_row = self.failed_saves = 0
        self.seconds = 0.0
        self.latest = self.checkpoints.latest()
        if self.latest is not None:
            self._resume(self.latest)

    def tell(self, before: str, after: str) -> None:
        """Log how the run stands, once for all processes; between the two parts are the steps of the run."""
        if self.accelerator.is_main_process:
            log.info("training %s %d %s", before, self.config.steps, after)

    # ---- loop

    def train(self, evaluate: Evaluate | None) -> Path:
        """Run to the last step; return the folder of the last checkpoint."""
        total = self.config.steps
        main = self.accelerator.is_main_process
        with (
            StopRequest() as stop,
            TrainingLog(Path(self.config.output_dir), self.done, tensorboard=self.config.tensorboard)
            if main
            else nullcontext() as training_log,
            Prefetch(self.data, self.order, self.done, total) as prefetch,
            progress_bar(total, self.done, main) as advance,
        ):
            meter = _Meter(self.accelerator)
            self.objective.train()
            began = time.perf_counter() - self.seconds
            for batches in prefetch:
                values = self._step(batches)
                self.done += 1
                self.seconds = time.perf_counter() - began
                meter.add(values)
                advance(self.done, f"loss {float(values.get('loss', math.nan)):.4f}")
                if training_log is not None and not values:
                    training_log.write(self.done, {"skipped_samples": batches.indices})
                if self.done % self.config.log_every == 0 or self.done == total:
                    self._log(training_log, meter.take())
                stopping = self._any_process(stop.signal_number != 0)
                if stopping or self.done % self.config.save_every == 0 or self.done == total:
                    self._save(final=stopping or self.done == total)
                    if evaluate is not None and not stopping:
                        self._evaluate(evaluate, training_log)
                if stopping:
                    self.tell(f"stopped at step {self.done} of", "steps; the same command goes on from there")
                    raise SystemExit(stop.exit_code if stop.signal_number else 143)
        if self.latest is None:
            raise TrainingError(f"no checkpoint was written in {self.config.output_dir}")
        return self.latest.folder

    def _step(self, batches: StepBatches) -> dict[str, Tensor]:
        """One optimiser step; the means of what the objective returned, or nothing where the step was skipped."""
        for group in self.raw_optimiser.param_groups:
            group["lr"] = self.schedule(batches.step) * group["lr_scale"]
        statistics = batch_norm_statistics(self.objective)
        before = [buffer.clone() for buffer in statistics]
        values = self._accumulate(batches)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip_norm or math.inf)
        loss_is_finite = not self._any_process(not bool(torch.isfinite(values["loss"])))
        norm_is_finite = bool(torch.isfinite(norm))
        # float16 finds its scale by overflowing: its scaler skips such a step, which is no fault of the data
        if self.config.precision == "fp16" or (loss_is_finite and norm_is_finite):
            self.optimiser.step()
        self.optimiser.zero_grad()
        if not loss_is_finite or not (norm_is_finite or self.config.precision == "fp16"):
            for buffer, old in zip(statistics, before, strict=True):
                buffer.copy_(old)
            self._count_skipped(batches)
            return {}
        self.skipped_in_a_row = 0
        self._after_step(batches.step)
        return {**values, "grad_norm": norm.detach()}

    def _accumulate(self, batches: StepBatches) -> dict[str, Tensor]:
        passes = len(batches.batches)
        sums: dict[str, Tensor] = {}
        for micro, batch in enumerate(batches.batches):
            number = batches.step * passes + micro
            generator = seeded_torch(step_seed(self.config.seed, number, self.accelerator.process_index))
            with self.accelerator.no_sync(self.model) if micro < passes - 1 else nullcontext():
                values = self.model(self._to_device(batch), generator)
                self.accelerator.backward(values["loss"] / passes)
            for name, value in values.items():
                sums[name] = sums.get(name, torch.zeros_like(value)).detach() + value.detach() / passes
        return sums

    def _after_step(self, step: int) -> None:
        after_step = getattr(self.objective, "after_step", None)
        if after_step is not None:
            after_step(step, self.config.steps)
        if self.average is not None:
            self.average.update(self.objective)

    def _to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self.accelerator.device, non_blocking=True) for name, tensor in batch.items()}

    def _any_process(self, flag: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return flag
        count = torch.tensor(float(flag), device=self.accelerator.device)
        return bool(self.accelerator.reduce(count, reduction="sum") > 0)

    def _count_skipped(self, batches: StepBatches) -> None:
        self.skipped += 1
        self.skipped_in_a_row += 1
        log.warning("step %d skipped: loss or gradient not finite; samples %s", batches.step, batches.indices)
        often = self.skipped >= MAX_SKIPPED_IN_A_ROW and self.skipped > MAX_SKIPPED_SHARE * (batches.step + 1)
        if often or self.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"{self.skipped} steps had a loss or gradient that is not finite, the last with samples "
                f"{batches.indices}; the last good checkpoint is {self.latest.folder if self.latest else 'none'}"
            )

    # ---- what a run leaves behind

    def _log(self, training_log: TrainingLog | None, means: dict[str, float]) -> None:
        if training_log is not None:
            rate = self.schedule(self.done - 1)
            clock = {"epoch": self.done / self.order.steps_per_epoch, "seconds": round(self.seconds, 3)}
            training_log.write(self.done, {**means, "learning_rate": rate, **clock, "skipped": self.skipped})

    def _save(self, *, final: bool) -> None:
        if self.accelerator.is_main_process:
            tensors = {
                "model": stored_tensors(self.objective),
                "optimizer": optimiser_tensors(self.objective, self.raw_optimiser),
            }
            if self.average is not None:
                tensors["ema"] = self.average.tensors
            try:
                self.latest = self.checkpoints.save(self.done, tensors, self._state())
                self.failed_saves = 0
            except OSError as error:
                self._count_failed_save(error, final=final)
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            self.latest = self.checkpoints.latest()

    def _count_failed_save(self, error: OSError, *, final: bool) -> None:
        self.failed_saves += 1
        log.warning("checkpoint of step %d not written: %s", self.done, error)
        if final or self.failed_saves >= MAX_FAILED_SAVES:
            raise TrainingError(f"checkpoint of step {self.done} cannot be written: {error}") from error

    def _evaluate(self, evaluate: Evaluate, training_log: TrainingLog | None) -> None:
        if training_log is not None:
            with _for_evaluation(self.objective, self.average):
                training_log.write(self.done, evaluate(self.objective, self.done))
        self.accelerator.wait_for_everyone()

    def _order_facts(self) -> dict[str, int]:
        order = self.order
        return {
            "seed": order.seed,
            "samples": order.samples,
            "batch_size": order.batch_size,
            "accumulation": order.accumulation,
            "world_size": order.world_size,
            "steps": self.config.steps,
        }

    def _state(self) -> dict[str, Any]:
        scaler = self.accelerator.scaler
        return {
            **self._order_facts(),
            "epoch": self.order.epoch(self.done),
            "seconds": self.seconds,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            "scaler": scaler.state_dict() if scaler is not None else None,
            "mmret_version": mmret.__version__,
        }

    def _resume(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        changed = {name: state.get(name) for name, value in self._order_facts().items() if state.get(name) != value}
        if changed:
            log.warning("resuming with other settings than before (%s): not the same run bit for bit", changed)
        load_stored_tensors(self.objective, checkpoint.tensors("model"))
        load_optimiser_tensors(self.objective, self.raw_optimiser, checkpoint.tensors("optimizer"))
        if self.average is not None:
            self.average.load(checkpoint.tensors("ema" if checkpoint.has("ema") else "model"))
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.done, self.seconds = checkpoint.step, float(state["seconds"])
        self.skipped, self.skipped_in_a_row = int(state["skipped"]), int(state["skipped_in_a_row"])


class _Meter:
    """Means of logged values since they were last taken, over steps and processes."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, values: dict[str, Tensor]) -> None:
        """Count the values of one step; a skipped step has none."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
        self._count += bool(values)

    def take(self) -> dict[str, float]:
        """Means by name; starts anew."""
        sums, count = self._sums, max(self._count, 1)
        self._sums, self._count = {}, 0
        return {n: float(self._accelerator.reduce(total, reduction="mean")) / count for n, total in sums.items()}


def _optimiser(objective: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    groups_of = getattr(objective, "parameter_groups", None)
    groups = groups_of() if groups_of is not None else default_parameter_groups(objective, config.weight_decay)
    for group in groups:
        group["lr_scale"] = group.get("lr", config.learning_rate) / config.learning_rate
    return make_optimiser(groups, config)


@contextmanager
def _for_evaluation(objective: nn.Module, average: WeightAverage | None) -> Iterator[None]:
    """Eval mode with the averaged weights inside, training as before outside."""
    trained = {name: tensor.clone() for name, tensor in stored_tensors(objective).items()}
    modes = {module: module.training for module in objective.modules()}
    if average is not None:
        load_stored_tensors(objective, average.tensors)
    objective.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        load_stored_tensors(objective, trained)
        for module, training in modes.items():
            module.training = training
