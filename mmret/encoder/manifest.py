"""mmret.json: what a model folder hears, in which windows, and which files hold its weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmret.audio.logmel import LogMelConfig
from mmret.audio.segments import WindowConfig
from mmret.errors import ModelFormatError

FILE_NAME = "mmret.json"
WEIGHTS = "model.safetensors"
AUDIO_GRAPH = "audio.onnx"  # beside the weights: ONNX Runtime refuses references that leave a graph's folder
TEXT_GRAPH = "text.onnx"
TEXT_WEIGHTS = "text.safetensors"  # of a folder whose audio graph is int8 and holds its own numbers
TOKENIZER = "tokenizer.json"
FP32 = "fp32"
INT8 = "int8"  # scales of the activations were measured beforehand
INT8_DYNAMIC = "int8-dynamic"  # each run finds its own
PRECISIONS = (FP32, INT8, INT8_DYNAMIC)
FORMAT = 1
MAX_BYTES = 1_000_000
_BLOCK = 1 << 20


@dataclass(frozen=True)
class FileDigest:
    """Size and SHA-256 of a file of the folder."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """Contents of mmret.json.

    `min_samples`: shorter waveforms are repeated up to this length before encoding. `precision` is the audio graph's.
    """

    name: str
    dim: int
    sample_rate: int
    window_s: float
    hop_s: float
    min_samples: int
    log_mel: LogMelConfig
    max_tokens: int
    files: dict[str, FileDigest] = field(default_factory=dict)
    precision: str = FP32

    @property
    def windows(self) -> WindowConfig:
        """Windows in which the model hears long recordings."""
        return WindowConfig(self.window_s, self.hop_s)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over weights, front end and windows: equal fingerprints give equal vectors."""
        facts = {key: value for key, value in self.as_dict().items() if key not in ("name", "format")}
        # The graphs hold the numbers of the weight file, so that file alone stands for both runtimes.
        weights = {name: digest for name, digest in facts["files"].items() if name == WEIGHTS}
        facts["files"] = weights or facts["files"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form; fp32 goes without saying, as in folders that were written before there was a choice."""
        facts = {"format": FORMAT, **asdict(self)}
        return {key: value for key, value in facts.items() if (key, value) != ("precision", FP32)}

    def write(self, folder: Path) -> None:
        """Write mmret.json into a folder."""
        (folder / FILE_NAME).write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")

    def verified(self, folder: Path, name: str) -> Path:
        """Path of a listed file whose bytes are the listed ones; ModelFormatError otherwise."""
        digest = self.files.get(name)
        if digest is None:
            raise ModelFormatError(f"{folder / FILE_NAME} does not list {name}; export the model again")
        path = folder / name
        try:
            intact = path.stat().st_size == digest.bytes and path.is_file() and file_digest(path) == digest
        except FileNotFoundError:
            intact = False
        except OSError as error:
            raise ModelFormatError(f"{path} cannot be read: {error.strerror or error}") from None
        if not intact:
            raise ModelFormatError(
                f"{path} is missing or is not the file that {FILE_NAME} lists; export the model again"
            )
        return path


def file_digest(path: Path) -> FileDigest:
    """Size and SHA-256 of a file."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
    return FileDigest(sha256.hexdigest(), path.stat().st_size)


def read_manifest(folder: Path) -> Manifest:
    """mmret.json of a folder; ModelFormatError says what is wrong with it."""
    path = folder / FILE_NAME
    if path.stat().st_size > MAX_BYTES:
        raise ModelFormatError(f"{path} is larger than {MAX_BYTES} bytes")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        version = facts.pop("format")
        if version != FORMAT:
            raise ModelFormatError(f"{path} has format {version}; this mmret reads {FORMAT}")
        files = {name: FileDigest(**digest) for name, digest in facts.pop("files").items()}
        manifest = Manifest(**{**facts, "log_mel": LogMelConfig(**facts["log_mel"]), "files": files})
        _check(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFormatError(f"{path} is not a description of a model ({error}); export the model again") from None
    return manifest


def _check(manifest: Manifest) -> None:
    """Whole numbers where samples and bins are counted, all in ranges, files inside the folder."""
    log_mel = manifest.log_mel
    counts = [manifest.dim, manifest.sample_rate, manifest.min_samples, manifest.max_tokens]
    counts += [log_mel.sample_rate, log_mel.n_mels, log_mel.n_fft, log_mel.win_length, log_mel.hop_length]
    if manifest.precision not in PRECISIONS:
        raise ValueError(f"precision {manifest.precision!r} is not one of {', '.join(PRECISIONS)}")
    if not isinstance(manifest.name, str) or not all(type(count) is int for count in counts):
        raise ValueError("a name or a whole number is of another kind")
    manifest.windows  # noqa: B018  # raises ValueError for windows that do not cover a recording
    in_range = (
        0 < manifest.dim <= 65_536
        and 1_000 <= manifest.sample_rate <= 768_000
        and manifest.window_s <= 3_600
        and 0 <= manifest.min_samples <= 3_600 * manifest.sample_rate
        and 0 < manifest.max_tokens <= 65_536
        and log_mel.sample_rate == manifest.sample_rate
        and 0 < log_mel.n_mels <= 1_024
        and 1 < log_mel.n_fft <= 65_536
        and 0 < log_mel.win_length <= log_mel.n_fft
        and 0 < log_mel.hop_length <= log_mel.n_fft
        and 0 <= log_mel.f_min < log_mel.f_max <= log_mel.sample_rate / 2
        and 0 < log_mel.log_eps < 1
    )
    if not in_range:
        raise ValueError("a number is out of range")
    for name in manifest.files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name} lies outside the folder")
