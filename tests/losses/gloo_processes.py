"""Runs a function in several gloo processes that meet through a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing

Work = Callable[[int, int, Any], Any]


def run_in_processes(work: Work, world: int, arguments: Any, folder: Path) -> list[Any]:
    """What `work(rank, world, arguments)` returned on each rank."""
    multiprocessing.spawn(_enter, args=(work, world, arguments, str(folder)), nprocs=world)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)]


def _enter(rank: int, work: Work, world: int, arguments: Any, folder: str) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    torch.save(work(rank, world, arguments), Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()
