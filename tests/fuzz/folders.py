"""Model folders with one damaged file, opened by both runtimes; digests are made to fit, as an attacker would."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mmret import Encoder
from mmret.encoder.export import export_folder
from mmret.encoder.manifest import file_digest
from mmret.errors import MmretError
from tests.encoder import tiny_models
from tests.fuzz.checkpoints import NUMBERS
from tests.fuzz.mutations import Generator, mutated

EDGE_BYTES = 3000
MANIFEST = "mmret.json"
WAVEFORM = np.sin(np.arange(16_000) / 20).astype(np.float32)
FILES = ("mmret.json", "config.json", "tokenizer.json", "tokenizer_config.json", "audio.onnx", "text.onnx")
FILES += ("model.safetensors",)


class FolderTarget:
    """Opening a model folder and encoding: unit vectors, or an MmretError."""

    memory_bytes = 1_200 * 2**20
    cpu_s = 30

    def __init__(self, place: Path) -> None:
        made = Path(tempfile.mkdtemp(prefix="mmret-models-"))
        self._pristine = {
            name: {path.name: path.read_bytes() for path in export_folder(folder, made / f"{name}-x").iterdir()}
            for name, folder in (
                ("conv", tiny_models.conv_clap(made / "conv")),
                ("m2d", tiny_models.m2d_clap(made / "m2d")),
            )
        }
        shutil.rmtree(made)
        self._folder = place / "model"
        self._runtime = "onnx"

    def prepare(self, number: int, generator: Generator) -> str:
        """Write the folder of a case; what it is."""
        kind = "conv" if generator.integers(0, 2) else "m2d"
        self._runtime = "torch" if generator.integers(0, 3) == 0 else "onnx"
        files = self._pristine[kind]
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        for name, content in files.items():
            (self._folder / name).write_bytes(content)
        changed = FILES[number % len(FILES)]
        done, data = _changed(changed, files[changed], generator)
        (self._folder / changed).write_bytes(data)
        listed = changed != MANIFEST and generator.integers(0, 8) > 0
        if listed:
            _list_as_it_is(self._folder, changed)
        return f"{kind} {self._runtime} {changed}{' relisted' if listed else ''}: {done}"

    def run(self) -> str:
        """Open it and encode; how that ended."""
        try:
            encoder = Encoder.from_pretrained(self._folder, runtime=self._runtime)
            heard = encoder.encode_audio([WAVEFORM])
            read = encoder.encode_text(["a dog barks"])
        except MmretError:
            return "refused"
        for vectors in (heard, read):
            assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-2
        return "read"


def _changed(name: str, data: bytes, generator: Generator) -> tuple[str, bytes]:
    if name.endswith(".json") and generator.integers(0, 3):
        return _edited_json(data, generator)
    if generator.integers(0, 2):
        edge = min(EDGE_BYTES, len(data))
        done, part = mutated(data[:edge], generator)
        return f"head {done}", part + data[edge:]
    return mutated(data, generator)


def _edited_json(data: bytes, generator: Generator) -> tuple[str, bytes]:
    """Other values in one to three places."""
    facts = json.loads(data)
    done = []
    for _ in range(int(generator.integers(1, 4))):
        places = list(_places(facts))
        if not places:
            break
        parent, key = places[int(generator.integers(0, len(places)))]
        value = _value(generator)
        done.append(f"{key}={str(value)[:40]}")
        if generator.integers(0, 8) == 0:
            del parent[key]
        else:
            parent[key] = value
    return ", ".join(done), json.dumps(facts).encode()


def _places(value: Any) -> Any:
    """Every value in a JSON document: what holds it, and under which key."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries):
        yield value, key
        yield from _places(inner)


def _value(generator: Generator) -> Any:
    strange = [*NUMBERS, 4096, 256, True, {}, {"a": 1}, "x" * 2000, "../../etc/passwd", "/dev/zero", "\x1b[2J", 1e308]
    nested: list[Any] = []
    for _ in range(60):
        nested = [nested]
    strange.append(nested)
    return strange[int(generator.integers(0, len(strange)))]


def _list_as_it_is(folder: Path, name: str) -> None:
    facts = json.loads((folder / MANIFEST).read_text())
    if name in facts["files"]:
        digest = file_digest(folder / name)
        facts["files"][name] = {"sha256": digest.sha256, "bytes": digest.bytes}
        (folder / MANIFEST).write_text(json.dumps(facts))
