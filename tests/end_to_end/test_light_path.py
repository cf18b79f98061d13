"""Index, search and classify in processes of their own: on onnxruntime, with nothing heavier."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.encoder.tiny_models import sound

HEAVY = {"torch", "transformers", "sentence_transformers", "accelerate", "datasets", "scipy", "sklearn", "librosa"}
PROGRAM = (
    "import atexit, json, sys\n"
    "atexit.register(lambda: sys.stderr.write(json.dumps(sorted(sys.modules))))\n"
    "from mmret.cli import main\n"
    "main()\n"
)


def loaded_by(*words: str | Path) -> tuple[list[dict[str, object]], set[str]]:
    """Rows that a command prints, and the packages that it loads."""
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    packages = {name.split(".")[0] for name in json.loads(ended.stderr.splitlines()[-1])}
    return [json.loads(line) for line in ended.stdout.splitlines()], packages


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two short recordings."""
    (tmp_path / "sounds").mkdir()
    for number in range(2):
        soundfile.write(tmp_path / "sounds" / f"{number}.flac", sound(1.5, 16_000, seed=number), 16_000)
    return tmp_path / "sounds"


def test_every_daily_verb_runs_without_torch(tmp_path: Path, sounds: Path, model: Path) -> None:
    index = tmp_path / "index"
    indexed, packages = loaded_by("index", sounds, "--to", index, "--model", model, "--json")
    assert (indexed[0]["added"], "onnxruntime" in packages) == (2, True)
    assert not packages & (HEAVY | {"faiss"})
    hits, packages = loaded_by("search", index, "a dog barks", "--json")
    assert len(hits) == 2
    assert packages >= {"onnxruntime", "tokenizers", "sqlite3"}
    assert not packages & (HEAVY | {"faiss"})
    rows, packages = loaded_by("classify", sounds, "--labels", "dog,rain", "--model", model, "--json")
    assert len(rows) == 2
    assert not packages & (HEAVY | {"faiss"})
    assert not loaded_by("embed", sounds, "-o", tmp_path / "vectors.npz", "--model", model, "--json")[1] & HEAVY
    facts, packages = loaded_by("info", index, "--json")
    assert facts[0]["files"] == 2
    assert not packages & (HEAVY | {"faiss", "onnxruntime", "tokenizers"})


def test_own_labels_are_learnt_and_used_without_torch(tmp_path: Path, model: Path) -> None:
    (tmp_path / "own").mkdir()
    rows = [(f"{number}.flac", "odd" if number % 2 else "even") for number in range(8)]
    for number, (name, _) in enumerate(rows):
        soundfile.write(tmp_path / "own" / name, sound(0.9, 16_000, seed=number % 2), 16_000)
    table = tmp_path / "own" / "labels.csv"
    table.write_text("\n".join(["path,label", *map(",".join, rows)]))
    learnt, packages = loaded_by("finetune", table, "--to", tmp_path / "mine", "--model", model, "--json")
    assert learnt[0]["test"] == 2
    assert not packages & (HEAVY | {"faiss"})
    found, packages = loaded_by("classify", tmp_path / "own" / "0.flac", "--model", tmp_path / "mine", "--json")
    assert [one["label"] for one in found[0]["labels"]] in (["even", "odd"], ["odd", "even"])
    assert not packages & (HEAVY | {"faiss"})
