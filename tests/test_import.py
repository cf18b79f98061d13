"""`import mmret` is light, and its public names are there when they are asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import mmret
from mmret import _optional
from mmret.errors import MissingExtra, MmretError

HEAVY = {"numpy", "torch", "faiss", "onnxruntime", "transformers", "tokenizers", "soundfile", "soxr", "typer"}


def test_importing_mmret_loads_nothing_heavy() -> None:
    code = "import json, sys; import mmret; dir(mmret); mmret.__version__; print(json.dumps(sorted(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(json.loads(ended.stdout))
    assert not HEAVY & loaded
    assert {name for name in loaded if name.startswith("mmret")} == {"mmret"}


@pytest.mark.parametrize("name", mmret.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(mmret, name).__doc__
    assert name in dir(mmret)


def test_a_public_name_is_the_one_of_its_room() -> None:
    from mmret.encoder import Encoder
    from mmret.tasks.search import Index

    assert (mmret.Encoder, mmret.Index, mmret.MmretError) == (Encoder, Index, MmretError)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mmret' has no attribute 'nothing'"):
        _ = mmret.nothing
    assert not hasattr(mmret, "_HOMES_")


def test_an_optional_package_that_is_missing_is_told_with_the_command_that_installs_it() -> None:
    assert _optional.require("json", extra="models").dumps([]) == "[]"
    with pytest.raises(MissingExtra, match=r'no_such_package is not installed. Run: pip install "mmret\[plots\]"'):
        _optional.require("no_such_package", extra="plots")
