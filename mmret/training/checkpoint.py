"""Checkpoints that are whole or absent: safetensors and JSON in a folder that appears by one rename."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmret.errors import TrainingError

log = logging.getLogger(__name__)

STATE_NAME = "state.json"
LATEST_NAME = "latest"
STEP_NAME = re.compile(r"step-(\d{8,})")
SPACE_MARGIN = 1.1


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint on disk: its folder and the contents of state.json."""

    folder: Path
    state: dict[str, Any]

    @property
    def step(self) -> int:
        """Number of optimiser steps done."""
        return int(self.state["step"])

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Tensors of NAME.safetensors, on the CPU."""
        return load_file(self.folder / f"{name}.safetensors")

    def has(self, name: str) -> bool:
        """Whether NAME.safetensors belongs to this checkpoint."""
        return f"{name}.safetensors" in self.state["sha256"]


class Checkpoints:
    """The step-XXXXXXXX folders of a run; the newest `keep_last` are kept."""

    def __init__(self, folder: str | os.PathLike[str], keep_last: int = 2) -> None:
        """Name the run's folder; it is made by the first save."""
        self.folder = Path(folder)
        self.keep_last = keep_last

    def save(self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Checkpoint:
        """Write NAME.safetensors for each entry and state.json, durable before older checkpoints are deleted."""
        _refuse_non_finite(tensors)
        final = self.folder / f"step-{step:08d}"
        temporary = final.with_suffix(".tmp")
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            self._refuse_full_disk(tensors)
            temporary.mkdir()
            whole = {**state, "step": step, "sha256": _write_tensors(temporary, tensors)}
            _write_durable(temporary / STATE_NAME, json.dumps(whole, indent=1).encode())
            _sync_folder(temporary)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        self._point_latest(final)
        self._delete_old(final)
        return Checkpoint(final, whole)

    def latest(self) -> Checkpoint | None:
        """Newest checkpoint whose digests hold; damaged ones are passed over with a warning."""
        for folder in reversed(self._folders()):
            try:
                return _verified(folder)
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                log.warning("checkpoint %s is damaged (%s); trying the one before", folder, error)
        return None

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        found = [(STEP_NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]

    def _point_latest(self, final: Path) -> None:
        pointer = self.folder / f"{LATEST_NAME}.tmp"
        _write_durable(pointer, f"{final.name}\n".encode())
        pointer.replace(self.folder / LATEST_NAME)
        _sync_folder(self.folder)

    def _delete_old(self, newest: Path) -> None:
        others = [folder for folder in self._folders() if folder != newest]
        for folder in others[: max(len(others) - self.keep_last + 1, 0)]:
            shutil.rmtree(folder, ignore_errors=True)

    def _refuse_full_disk(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        needed = sum(t.numel() * t.element_size() for group in tensors.values() for t in group.values()) * SPACE_MARGIN
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(f"{self.folder} has {free / 1e6:.0f} MB free; a checkpoint needs {needed / 1e6:.0f} MB")


def _refuse_non_finite(tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    for group, named in tensors.items():
        for name, tensor in named.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise TrainingError(f"{group}: {name} holds values that are not finite; the checkpoint is not written")


def _write_tensors(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, str]:
    digests = {}
    for group, named in tensors.items():
        path = folder / f"{group}.safetensors"
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}, path)
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        digests[path.name] = _sha256(path)
    return digests


def _verified(folder: Path) -> Checkpoint:
    state = json.loads((folder / STATE_NAME).read_text())
    for name, digest in state["sha256"].items():
        if _sha256(folder / name) != digest:
            raise ValueError(f"{name} has another digest than {STATE_NAME} says")
    return Checkpoint(folder, state)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_durable(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
