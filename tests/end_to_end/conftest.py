"""The command line in front, a tiny model exported as any other behind, real files between."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mmret.cli import main
from mmret.encoder.export import export_folder
from tests.encoder import tiny_models


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ConvClap of a few thousand weights, as `mmret export` writes it."""
    folder = tiny_models.conv_clap(tmp_path_factory.mktemp("model") / "tiny")
    return export_folder(folder, tmp_path_factory.mktemp("exported") / "tiny")


@pytest.fixture(scope="session")
def other_model(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another kind."""
    folder = tiny_models.m2d_clap(tmp_path_factory.mktemp("model") / "other")
    return export_folder(folder, tmp_path_factory.mktemp("exported") / "other")


@pytest.fixture
def mmret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run one command line within this process."""

    def command(*words: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["mmret", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ended(int(ended.value.code or 0), said.out, said.err)

    return command
