"""A command with all verbs, and the fake encoder in place of a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from tests.tasks.fake_encoder import FakeEncoder, write_tone


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run one command line; errors of mmret stay exceptions, in `result.exception`."""
    import mmret.encoder
    from mmret.cli import classify, cluster, convert, demo, embed, export, finetune, index, maintenance, murmur, search

    def from_pretrained(name_or_path: str, *, runtime: str = "auto", one_sentence: bool = False) -> FakeEncoder:
        assert runtime in {"auto", "onnx", "torch"}
        return FakeEncoder(fingerprint="e" * 64 if name_or_path == "other" else "f" * 64)

    monkeypatch.setattr(mmret.encoder.Encoder, "from_pretrained", from_pretrained)
    app = typer.Typer()
    for verbs in (index, maintenance, search, cluster, classify, murmur, finetune, embed, convert, demo, export):
        verbs.register(app)

    def command(*words: str | Path, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], input=stdin)

    return command


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Three tones in a folder."""
    for number, frequency_hz in enumerate((200, 800, 3000)):
        write_tone(tmp_path / "sounds" / f"{frequency_hz}.wav", frequency_hz, seed=number)
    return tmp_path / "sounds"
