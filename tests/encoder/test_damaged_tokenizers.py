"""A tokenizer whose file has the listed digest and is nonsense ends in a ModelFormatError, its panics too."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmret.encoder import Encoder
from mmret.encoder.manifest import TOKENIZER, file_digest, read_manifest
from mmret.encoder.towers import tokenizer_faults
from mmret.errors import MissingExtra, ModelFormatError


def _without_unknown(facts: dict[str, Any]) -> None:
    facts["model"]["vocab"] = {"a": 1}


def _without_special_tokens(facts: dict[str, Any]) -> None:
    facts["post_processor"]["special_tokens"] = {}


def _beyond_the_vocabulary(facts: dict[str, Any]) -> None:
    facts["model"]["vocab"]["dog"] = 10**6


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize("change", [_without_unknown, _without_special_tokens, _beyond_the_vocabulary])
def test_a_damaged_tokenizer_is_refused(
    exported_m2d: Path, tmp_path: Path, runtime: str, change: Callable[[dict[str, Any]], None]
) -> None:
    folder = shutil.copytree(exported_m2d, tmp_path / "damaged")
    facts = json.loads((folder / TOKENIZER).read_text())
    change(facts)
    (folder / TOKENIZER).write_text(json.dumps(facts))
    manifest = read_manifest(folder)
    files = manifest.files | {TOKENIZER: file_digest(folder / TOKENIZER)}
    dataclasses.replace(manifest, files=files).write(folder)
    with pytest.raises(ModelFormatError):
        Encoder.from_pretrained(folder, runtime=runtime).encode_text(["a dog barks", "unheard"])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MissingExtra("needs more")])
def test_what_is_no_fault_of_a_tokenizer_passes(error: BaseException) -> None:
    with pytest.raises(type(error)), tokenizer_faults("tiny"):
        raise error
