"""Settings of a training run, from a YAML file and the command line."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from mmret.errors import TrainingError
from mmret.training.schedules import (
    ConstantThenLinear,
    CosineUnderWarmup,
    SetAfterStep,
    WarmupCosine,
    learning_rate_for_batch,
)

SCHEDULES = ("cosine", "cosine_under_warmup", "constant_then_linear")
OPTIMISERS = ("adamw", "sgd", "lars", "lars_matrices")
PRECISIONS = ("no", "bf16", "fp16")
SIMPLE = (int, float, bool, str, type(None))
ONE_OR_THE_OTHER = {"learning_rate": "base_learning_rate", "warmup_steps": "warmup_epochs"}
ABOVE_0 = ("learning_rate", "base_learning_rate")
NOT_BELOW_0 = (
    "steps", "epochs", "min_learning_rate", "warmup_steps", "warmup_epochs", "weight_decay", "momentum", "clip_norm",
    "seed",
)  # fmt: skip
SHARES = ("decay_fraction", "ema_decay")
Config = TypeVar("Config")


@dataclass(frozen=True)
class TrainingConfig:
    """One run: its length in steps or epochs, its optimiser, its schedule and what it leaves behind.

    batch_size counts samples of one process and one pass; a step sees batch_size * accumulation * processes.
    base_learning_rate, when given, sets learning_rate = base_learning_rate * samples of a step / 256.
    ema_decay keeps a moving average of the trained weights, saved as ema.safetensors.
    optimiser: adamw (betas, amsgrad), sgd (momentum), lars (as timm's: scales what decays) or lars_matrices (MoCo's).
    """

    output_dir: str = ""
    steps: int = 0
    epochs: float = 0.0
    batch_size: int = 64
    accumulation: int = 1
    learning_rate: float = 1e-3
    base_learning_rate: float | None = None
    min_learning_rate: float = 0.0
    warmup_steps: int = 0
    warmup_epochs: float = 0.0
    schedule: str = "cosine"
    decay_fraction: float = 0.3
    optimiser: str = "adamw"
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    amsgrad: bool = False
    momentum: float = 0.9
    clip_norm: float | None = 3.0
    precision: str = "no"
    ema_decay: float | None = None
    save_every: int = 1000
    log_every: int = 50
    keep_last: int = 2
    seed: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        object.__setattr__(self, "betas", tuple(self.betas))
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("optimiser", self.optimiser, OPTIMISERS)
        if (self.steps > 0) == (self.epochs > 0):
            raise TrainingError(f"give steps or epochs, one of them above 0: got {self.steps} and {self.epochs}")
        for name in ("batch_size", "accumulation", "save_every", "log_every", "keep_last"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, not {getattr(self, name)}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        for name in (*ABOVE_0, *NOT_BELOW_0, *SHARES):
            value = getattr(self, name)
            if value is None:
                continue
            if name in ABOVE_0 and not 0 < value < math.inf:
                raise TrainingError(f"{name} must be above 0, not {value:g}")
            if not 0 <= value < math.inf:
                raise TrainingError(f"{name} must be at least 0, not {value:g}")
            if name in SHARES and value > 1:
                raise TrainingError(f"{name} must be from 0 to 1, not {value:g}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise TrainingError(f"betas must be from 0 to below 1, not {list(self.betas)}")

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> TrainingConfig:
        """Read a file, one level of `_base:` and overrides as `--name value`; runs/FILE is the default folder."""
        values = read_settings(path, overrides)
        return build(cls, {"output_dir": f"runs/{Path(path).stem}", **values})

    def in_steps(self, samples: int, processes: int) -> TrainingConfig:
        """The same run with its length, warm-up and learning rate settled for this much data."""
        per_step = self.batch_size * self.accumulation * processes
        per_epoch = samples // per_step
        rate = self.learning_rate
        if self.base_learning_rate is not None:
            rate = learning_rate_for_batch(self.base_learning_rate, per_step)
        return replace(
            self,
            steps=self.steps or max(1, round(self.epochs * per_epoch)),
            epochs=0.0,
            warmup_steps=self.warmup_steps or round(self.warmup_epochs * per_epoch),
            warmup_epochs=0.0,
            learning_rate=rate,
            base_learning_rate=None,
        )

    def learning_rate_schedule(self) -> WarmupCosine | SetAfterStep | ConstantThenLinear:
        """Learning rate as a function of the step; for a config that in_steps has settled."""
        span = (self.learning_rate, float(self.warmup_steps), float(self.steps), self.min_learning_rate)
        if self.schedule == "cosine_under_warmup":
            return SetAfterStep(CosineUnderWarmup(*span))
        return WarmupCosine(*span) if self.schedule == "cosine" else ConstantThenLinear(*span, self.decay_fraction)


def read_settings(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Settings of a YAML file over those of its `_base:` (a neighbour, one level), under `--name value` pairs."""
    path = Path(path)
    values = _read_yaml(path)
    if "_base" in values:
        base = _read_yaml(path.parent / str(values.pop("_base")))
        if "_base" in base:
            raise TrainingError(f"{path}: its _base has a _base of its own; one level is allowed")
        values = _over(base, values, path)
    return _over(values, parse_overrides(overrides), "the command line")


def _over(below: Mapping[str, Any], above: Mapping[str, Any], source: object) -> dict[str, Any]:
    """Settings of `above`, which `source` gives, over those of `below`; what says a thing another way gives way."""
    replaced = set()
    for pair in ONE_OR_THE_OTHER.items():
        if all(above.get(name) for name in pair):
            raise TrainingError(f"{source} gives {pair[0]} and {pair[1]}, which conflict; give one of them")
        for name, other in (pair, pair[::-1]):
            if above.get(name) is not None and other not in above:
                replaced.add(other)
    return merged({name: value for name, value in below.items() if name not in replaced}, above)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `above` over those of `below`; groups of settings are merged, not replaced."""
    groups = {name for name in below.keys() & above.keys() if isinstance(below[name], dict)}
    inner = {name: merged(below[name], above[name]) for name in groups if isinstance(above[name], dict)}
    return {**below, **above, **inner}


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """['--name', 'value', '--group.name=value'] as settings; values are read as YAML."""
    words = [word for argument in arguments for word in (argument.split("=", 1) if "=" in argument else [argument])]
    names, values = words[::2], words[1::2]
    wrong = [name for name in names if not name.startswith("--")]
    if wrong or len(names) != len(values):
        raise TrainingError(f"settings are given as --name value; cannot read {' '.join(arguments)!r}")
    settings: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        try:
            setting: Any = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise TrainingError(f"cannot read the value {value!r} of {name}") from error
        for part in reversed(name[2:].replace("-", "_").split(".")):
            setting = {part: setting}
        settings = merged(settings, setting)
    return settings


def build(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """Make a settings dataclass, naming what is unknown and turning YAML numbers into the declared type."""
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise TrainingError(f"unknown setting {unknown[0]!r}; known are {', '.join(known)}")
    missing = [name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in missing if name not in values]
    if missing:
        raise TrainingError(f"setting {missing[0]!r} is missing")
    hints = get_type_hints(cls)
    return cls(**{name: as_declared(name, value, hints[name]) for name, value in values.items()})


def as_declared(name: str, value: Any, hint: Any) -> Any:
    """A value as YAML reads it in the type that is declared for it; TrainingError where it is of another."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if hint is str and isinstance(value, bool):
        return "yes" if value else "no"  # YAML reads a bare no as false
    if float in kinds and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 3e-4 as a word
        except ValueError as error:
            raise TrainingError(f"{name} is a number, not {value!r}") from error
    if all(kind in SIMPLE for kind in kinds) and type(value) not in kinds:
        raise TrainingError(f"{name} is of type {getattr(hint, '__name__', hint)}, not {value!r}")
    if get_origin(hint) is tuple:
        return _as_tuple(name, value, get_args(hint))
    return tuple(value) if isinstance(value, list) else value


def _as_tuple(name: str, value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    count = "" if Ellipsis in kinds else f"{len(kinds)} "
    what = f"{name} is a list of {count}{'whole ' if kinds[0] is int else ''}numbers, not {value!r}"
    if not isinstance(value, (list, tuple)) or (count and len(value) != len(kinds)):
        raise TrainingError(what)
    try:
        return tuple(as_declared(name, one, kinds[0]) for one in value)
    except TrainingError as error:
        raise TrainingError(what) from error


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise TrainingError(f"{name} is one of {', '.join(allowed)}, not {value!r}")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TrainingError(f"cannot read the settings in {path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise TrainingError(f"{path} does not hold settings as name: value lines")
    return values
