"""Safe reading of a published M2D checkpoint file: tensors by name, and what its folder name adds to them."""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmret.errors import ModelFormatError

# What torch.load and zipfile raise on damaged or hostile bytes; anything else would be a mistake of ours.
_READING_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    ImportError,
    OverflowError,
    MemoryError,
    struct.error,
    UnicodeDecodeError,
    zipfile.BadZipFile,
)
_INPUT = re.compile(r"^(?P<mels>\d{1,4})x(?P<frames>\d{1,6})p(?P<patch>\d{1,4}x\d{1,4})(?P<extras>(p[A-Za-z0-9]+)*)$")
_RATES = {"16k": 16_000, "32k": 32_000}
_PLAIN = (type(None), bool, int, float, complex, str, bytes, Tensor)


@dataclass(frozen=True)
class Container:
    """Tensors of a checkpoint under their published names, and the training command line if it holds one."""

    path: Path
    tensors: dict[str, Tensor]
    arguments: dict[str, Any]


@dataclass(frozen=True)
class NameHints:
    """What the folder name says and no tensor can: input length and rate; None where it says nothing."""

    frames: int | None = None
    sample_rate: int | None = None
    text_encoder: str | None = None


def read_container(path: Path) -> Container:
    """Read a `.pth` file without running any code of it: tensors, plain values and argparse.Namespace only."""
    content = _load(path)
    if not isinstance(content, Mapping):
        raise ModelFormatError(f"{path}: holds a {type(content).__name__}, not the weights of a model")
    arguments = content.get("args")
    state = content.get("model", content)
    if not isinstance(state, Mapping):
        raise ModelFormatError(f"{path}: its 'model' is a {type(state).__name__}, not a dictionary of tensors")
    tensors = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise ModelFormatError(f"{path}: holds no tensors; is it the model file of a checkpoint folder?")
    _check_storage(path, tensors)
    settings = vars(arguments) if isinstance(arguments, argparse.Namespace) else {}
    _check_plain(path, settings)
    return Container(path, tensors, settings)


def _load(path: Path) -> object:
    try:
        zipped = _is_plain_zip(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except OSError as error:
        raise ModelFormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    except _READING_ERRORS as error:
        unsupported = re.search(r"GLOBAL ([\w.]+)", str(error))
        if unsupported:
            raise ModelFormatError(
                f"{path}: holds a pickled {unsupported[1]}, which could run code when loaded. Only tensors, plain "
                "values and argparse.Namespace are read; ask its author for a plain state dict"
            ) from error
        raise ModelFormatError(
            f"{path}: is no readable checkpoint ({type(error).__name__}); it may be cut short or of another "
            "kind. Download it again and compare its size"
        ) from error


def _is_plain_zip(path: Path) -> bool:
    """Whether torch may map the file; refuses compressed archives, which torch never writes and could be bombs."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ModelFormatError(f"{path}: is a compressed archive; give the .pth file that was inside or beside it")
    return True


def _check_storage(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that claim more values than the file can hold, before anything copies them."""
    budget = path.stat().st_size
    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise ModelFormatError(f"{path}: {key} is no plain tensor; ask its author for a plain state dict")
        claimed = tensor.numel() * tensor.element_size()
        budget -= claimed
        if claimed > tensor.untyped_storage().nbytes() or budget < 0:
            raise ModelFormatError(f"{path}: {key} claims {tuple(tensor.shape)} values, more than the file holds")


def _check_plain(path: Path, arguments: Mapping[str, object]) -> None:
    """Refuse arguments that are not plain at every depth, although torch could build them safely."""
    seen: set[int] = set()
    waiting = list(arguments.items())
    while waiting:
        name, value = waiting.pop()
        if type(value) in _PLAIN or id(value) in seen:
            continue
        seen.add(id(value))
        parts = _parts(value)
        if parts is None:
            raise ModelFormatError(
                f"{path}: its argument {name!r} holds a {type(value).__name__}; only plain values are read. Ask its "
                "author for a plain state dict"
            )
        waiting += [(name, part) for part in parts]


def _parts(value: object) -> Iterable[object] | None:
    """What a plain container holds; None for all that is none, subclasses of the plain ones too."""
    if isinstance(value, dict) and type(value) is dict:
        return [*value, *value.values()]
    if isinstance(value, argparse.Namespace) and type(value) is argparse.Namespace:
        return vars(value).values()
    return value if isinstance(value, (list, tuple, set)) and type(value) in (list, tuple, set) else None


def parse_name(path: Path) -> NameHints:
    """Hints of a published name, first of the folder, then of the file: `<class>-80x608p16x16[p32k][pB][pTI]-...`.

    >>> parse_name(Path("m2d_as_vit_base-80x1001p16x16p32k-240413_AS-FT/weights.pth"))
    NameHints(frames=1001, sample_rate=32000, text_encoder=None)
    """
    for name in (path.absolute().parent.name, path.stem):
        parts = name.split("-")
        found = _INPUT.match(parts[1]) if len(parts) > 1 else None
        if found:
            extras = [extra for extra in found["extras"].split("p") if extra]
            rates = [_RATES[extra] for extra in extras if extra in _RATES]
            letters = [extra for extra in extras if extra in ("A", "B", "N")]
            return NameHints(int(found["frames"]), rates[0] if rates else None, letters[0] if letters else None)
    return NameHints()
