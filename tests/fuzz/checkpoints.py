"""Published M2D checkpoints, tiny ones, mutated as bytes and as dictionaries of tensors, and opened."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmret.errors import ModelFormatError
from mmret.models import M2DClapConfig, M2DClapModel, M2DConfig, M2DForPreTraining, M2DModel
from mmret.models.m2d_checkpoint import load_m2d_checkpoint, load_m2d_pretraining
from tests.fuzz.mutations import INTERESTING, Generator, mutated

SIZES: dict[str, Any] = {"input_size": (80, 64), "embed_dim": 16, "depth": 2, "num_heads": 2}
PREDICTOR: dict[str, Any] = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
TEXT = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
}
EDGE_BYTES = 4000
NUMBERS = (-1, 0, 1, 2, 7, 4096, 10**6, 10**9, 10**18, -(2**63), 0.5, float("nan"), "16", None, [1])


class CheckpointTarget:
    """Opening a `.pth` file: a model, or a ModelFormatError that names the file."""

    memory_bytes = 600 * 2**20
    cpu_s = 20

    def __init__(self, place: Path) -> None:
        torch.manual_seed(0)
        self._contents = contents()
        self._files = [
            _saved(content, zipped=zipped) for content in self._contents.values() for zipped in (True, False)
        ]
        self._path = place / "case.pth"
        self._pretraining = False

    def prepare(self, number: int, generator: Generator) -> str:
        """Write the file of a case; what it is."""
        self._pretraining = bool(generator.integers(0, 3) == 0)
        if number % 2:
            name = sorted(self._contents)[int(generator.integers(0, len(self._contents)))]
            done, content = _edited(self._contents[name], generator)
            self._path.write_bytes(_saved(content, zipped=bool(generator.integers(0, 4))))
            return f"{name}: {done}"
        whole = self._files[int(generator.integers(0, len(self._files)))]
        done, data = _mutated_somewhere(whole, generator)
        self._path.write_bytes(data)
        return done

    def run(self) -> str:
        """Open it; how that ended."""
        load = load_m2d_pretraining if self._pretraining else load_m2d_checkpoint
        try:
            model = load(self._path, num_heads=2)
        except ModelFormatError as error:
            assert self._path.name in str(error) or "M2DConfig" in str(error) or "M2DClapConfig" in str(error), error
            return "refused"
        assert isinstance(model, torch.nn.Module)
        return "read"


def contents() -> dict[str, dict[str, Any]]:
    """What the three kinds of published files hold."""
    encoder = M2DModel(M2DConfig(**SIZES)).state_dict()
    pretraining = M2DForPreTraining(M2DConfig(**SIZES, **PREDICTOR)).state_dict()
    both = M2DClapModel(
        M2DClapConfig(
            audio_config=M2DConfig(**SIZES),
            text_config=TEXT,
            audio_projector="semantic",
            text_projector="linear",
            text_dim=16,
        )
    ).state_dict()
    names = {"audio_model.": "", "text_model.": "text_encoder.text_encoder."}
    clap = {}
    for key, value in both.items():
        prefix = next((prefix for prefix in names if key.startswith(prefix)), "")
        clap[names.get(prefix, "") + key.removeprefix(prefix)] = value
    arguments = argparse.Namespace(input_size=[80, 64], patch_size=[16, 16], lr=0.1, name="m2d")
    tuned = {f"module.ar.runtime.backbone.{key}": value for key, value in encoder.items()}
    tuned |= {
        "module.head.norm.running_mean": torch.zeros(16),
        "module.head.norm.running_var": torch.ones(16),
        "module.head.mlp.mlp.0.weight": torch.ones(3, 16),
        "module.head.mlp.mlp.0.bias": torch.zeros(3),
    }
    return {
        "encoder": encoder,
        "pretraining": {"model": pretraining, "args": arguments, "epoch": 3},
        "clap": {"model": clap, "args": arguments},
        "tuned": tuned,
    }


def _saved(content: object, *, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _mutated_somewhere(data: bytes, generator: Generator) -> tuple[str, bytes]:
    """Damage anywhere, or where the structure is: at the beginning, at the end."""
    where = int(generator.integers(0, 3))
    if where == 0:
        return mutated(data, generator)
    edge = min(EDGE_BYTES, len(data))
    if where == 1:
        done, part = mutated(data[:edge], generator)
        return f"head {done}", part + data[edge:]
    done, part = mutated(data[-edge:], generator)
    return f"tail {done}", data[:-edge] + part


def _edited(content: dict[str, Any], generator: Generator) -> tuple[str, dict[str, Any]]:
    """One to three wrong tensors or names, sometimes wrong settings."""
    content = dict(content)
    inner = isinstance(content.get("model"), dict)
    state = dict(content["model"] if inner else content)
    done = []
    for _ in range(int(generator.integers(1, 4))):
        key = list(state)[int(generator.integers(0, len(state)))]
        edit = EDITS[int(generator.integers(0, len(EDITS)))]
        done.append(f"{edit.__name__} {key}")
        edit(state, key, generator)
        if not state:
            break
    if inner:
        content["model"] = state
        if generator.integers(0, 2):
            done.append("settings")
            content["args"] = _settings(generator)
        return ", ".join(done), content
    return ", ".join(done), state


def _reshaped(state: dict[Any, Any], key: Any, generator: Generator) -> None:
    """Sizes that are nothing, too many or too large for what is there."""
    sizes = [int(generator.choice([0, 1, 2, 16, 80])) for _ in range(generator.integers(0, 5))]
    if sizes and generator.integers(0, 2):
        sizes[int(generator.integers(0, len(sizes)))] = int(generator.choice([10**4, 10**7, 10**12]))
    small = np.prod(sizes, dtype=object) <= 10**5
    state[key] = torch.zeros(sizes) if small else torch.zeros(1).expand(sizes)


def _flattened(state: dict[Any, Any], key: Any, generator: Generator) -> None:
    if isinstance(state[key], Tensor):
        state[key] = state[key].flatten()[: int(generator.integers(0, 40))].clone()


def _sliced(state: dict[Any, Any], key: Any, generator: Generator) -> None:
    if isinstance(state[key], Tensor) and state[key].ndim:
        axis = int(generator.integers(0, state[key].ndim))
        state[key] = state[key].narrow(axis, 0, int(generator.integers(0, state[key].shape[axis] + 1)))


def _retyped(state: dict[Any, Any], key: Any, generator: Generator) -> None:
    kinds = [torch.int8, torch.bool, torch.complex64, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn]
    if isinstance(state[key], Tensor) and not state[key].is_sparse and not state[key].is_meta:
        state[key] = state[key].to(kinds[int(generator.integers(0, len(kinds)))])


def _odd(state: dict[Any, Any], key: Any, generator: Generator) -> None:
    """Tensors of kinds that no checkpoint needs."""
    odd = [
        torch.zeros(3, 3, device="meta"),
        torch.eye(4).to_sparse(),
        torch.eye(4).to_sparse_csr(),
        torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8),
        torch.nn.Parameter(torch.zeros(4)),
        torch.full((4,), torch.inf),
        torch.tensor(float("nan")),
        torch.zeros(4).conj(),
        torch.zeros((), dtype=torch.int64),
    ]
    state[key] = odd[int(generator.integers(0, len(odd)))]


def _renamed(state: dict[Any, Any], key: Any, generator: Generator) -> None:
    number = INTERESTING[int(generator.integers(0, len(INTERESTING)))]
    names = [f"blocks.{number}.mlp.fc1.weight", f"backbone.{key}", f"{key}.extra", "", number, ("a", 1), "module.x"]
    names += [f"decoder_blocks.{number}.norm1.weight", f"text_encoder.text_encoder.encoder.layer.{number}.x", "²"]
    names += [f"audio_proj.sem_blocks.{number}.norm1.weight", "blocks.².x", "norm_stats", "audio_proj.sem_token"]
    state[names[int(generator.integers(0, len(names)))]] = state.pop(key)


def _lost(state: dict[Any, Any], key: Any, generator: Generator) -> None:
    del state[key]


def _replaced(state: dict[Any, Any], key: Any, generator: Generator) -> None:
    state[key] = NUMBERS[int(generator.integers(0, len(NUMBERS)))]


EDITS = (_reshaped, _reshaped, _flattened, _sliced, _retyped, _odd, _renamed, _renamed, _lost, _replaced)


def _settings(generator: Generator) -> object:
    """Settings of a training run that are none."""

    def number() -> Any:
        return NUMBERS[int(generator.integers(0, len(NUMBERS)))]

    nested: list[Any] = []
    for _ in range(int(generator.choice([1, 50, 400]))):
        nested = [nested]
    circular: list[Any] = []
    circular.append(circular)
    choices = [
        argparse.Namespace(input_size=[number(), number()]),
        argparse.Namespace(input_size=number()),
        argparse.Namespace(input_size=nested),
        argparse.Namespace(input_size=circular),
        argparse.Namespace(**{"__class__x": 1, "input_size": (number(), number())}),
        {"input_size": [number()]},
        number(),
    ]
    return choices[int(generator.integers(0, len(choices)))]
