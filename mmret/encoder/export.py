"""Export: a model folder for the light runtime. The graphs carry no numbers of their own, they point into the weights.

Both graphs lie beside model.safetensors' numbers: every weight is an external reference to its place in that file
(stored as float16, cast to float32 when the graph is opened). So torch and ONNX Runtime read the very same numbers,
and the folder holds them once. In int8 the audio graph holds its own numbers, and the weight file those of the text
tower alone.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from mmret._optional import require
from mmret.audio.decode import decode_blocks
from mmret.audio.logmel import LogMelConfig
from mmret.audio.segments import iter_segments
from mmret.encoder.encoder import Encoder
from mmret.encoder.exportable import check_export
from mmret.encoder.manifest import (
    AUDIO_GRAPH,
    FP32,
    INT8,
    INT8_DYNAMIC,
    TEXT_GRAPH,
    TEXT_WEIGHTS,
    TOKENIZER,
    WEIGHTS,
    Manifest,
    file_digest,
)
from mmret.encoder.onnx_towers import OnnxTowers
from mmret.encoder.processor import adds_int8_exactly
from mmret.encoder.quantise import check_vectors, quantise_convolutions, quantise_linear, sample_recordings
from mmret.encoder.torch_towers import DEFAULT_MAX_TOKENS, LogMelTowers, TorchTowers, load_towers
from mmret.encoder.towers import Vectors
from mmret.errors import ModelFormatError

OPSET = 17
LARGEST_DIFFERENCE = 1e-3
_SENTENCES = ("rain", "a dog barks in the distance while it rains on a tin roof")
_EXPORTED = ("conv_clap", "m2d_clap")
_EXAMPLE_FRAMES = 256
_EXAMPLE_TOKENS = 8


class _AudioGraph(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, log_mel: Tensor) -> Tensor:
        vectors: Tensor = self.model.get_audio_features(log_mel).pooler_output
        return vectors


class _TextGraph(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        vectors: Tensor = self.model.get_text_features(input_ids, attention_mask).pooler_output
        return vectors


@dataclass(frozen=True)
class _Graph:
    """One graph to write: the module, example inputs by name, and its axes that may have any length."""

    module: nn.Module
    inputs: dict[str, Tensor]
    axes: dict[str, dict[int, str]]


def export_folder(model: str | Path, out: str | Path, *, name: str | None = None, precision: str = FP32) -> Path:
    """Write OUT, a complete folder, from a ConvClap or M2D-CLAP, named as to `Encoder`; whole or not at all.

    precision "fp32" writes a folder for every runtime, "int8" one whose audio tower is int8 and runs on ONNX Runtime.
    ModelFormatError tells why a model has no such form, the cosine to fp32 where int8 would move its vectors too far.
    """
    require("onnx", extra="models")
    out = Path(out)
    source = check_export(model, out, precision)
    if precision == INT8 and not adds_int8_exactly():
        raise ModelFormatError("this processor has no VNNI, so int8 cannot be checked here; use --precision fp32")
    towers = load_towers(str(model), source)
    if towers.model.config.model_type not in _EXPORTED:
        raise ModelFormatError(
            f"{model} is a {towers.model.config.model_type} model, which runs on torch: "
            "give the model itself to --model"
        )
    towers.model.cpu()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        write = _write_fp32 if precision == FP32 else _write_int8
        write(towers, source, folder, name=name or out.name)
        folder.rename(out)
    return out


def _write_fp32(towers: TorchTowers, source: Path | None, folder: Path, *, name: str) -> None:
    model = towers.model
    _write_weights(model, folder / WEIGHTS)
    config = _without_places(model.config.to_dict()) | {"dtype": "float16"}
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    _write_graph(_graphs(model)[AUDIO_GRAPH], folder / AUDIO_GRAPH, folder / WEIGHTS)
    files = [WEIGHTS, AUDIO_GRAPH]
    if model.text_model is not None:
        files += _write_text(towers, source, folder, weights=WEIGHTS)
    _manifest(towers, name, folder, files).write(folder)
    exported = OnnxTowers(folder)
    _check_audio(towers, exported)
    _check_text(towers, exported)


def _write_int8(towers: TorchTowers, source: Path | None, folder: Path, *, name: str) -> None:
    """Neither configuration nor audio weights: the folder is for ONNX Runtime alone, and says so when torch asks."""
    model = towers.model
    files = [AUDIO_GRAPH]
    precision = _write_int8_graph(towers, folder)
    if model.text_model is not None:
        _write_weights(model, folder / TEXT_WEIGHTS, only="text_")
        files += [TEXT_WEIGHTS, *_write_text(towers, source, folder, weights=TEXT_WEIGHTS)]
    _manifest(towers, name, folder, files, precision).write(folder)
    exported, recordings = OnnxTowers(folder), sample_recordings()
    check_vectors(towers.name, Encoder(towers).encode_audio(recordings), Encoder(exported).encode_audio(recordings))
    _check_text(towers, exported)


def _write_int8_graph(towers: TorchTowers, folder: Path) -> str:
    """Write the audio graph in int8, numbers inside; the precision that came of it."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        exact = Path(scratch) / AUDIO_GRAPH
        _trace(_graphs(towers.model)[AUDIO_GRAPH], exact, fold=True)
        if towers.model.config.model_type == "m2d_clap":
            quantise_linear(exact, folder / AUDIO_GRAPH)
            return INT8_DYNAMIC
        assert isinstance(towers, LogMelTowers), towers
        quantise_convolutions(exact, folder / AUDIO_GRAPH, _sample_log_mels(towers))
        return INT8


def _sample_log_mels(towers: LogMelTowers) -> list[NDArray[np.float32]]:
    """Log-mels (1, 1, mels, frames) of the first window of every sample recording."""
    rate = towers.sample_rate
    firsts = [next(iter_segments(decode_blocks(path, rate), rate, towers.windows)) for path in sample_recordings()]
    return [towers.log_mel([segment.waveform]).numpy() for segment in firsts]


def _write_text(towers: TorchTowers, source: Path | None, folder: Path, *, weights: str) -> list[str]:
    """Write tokenizer and text graph, which refers to `weights`; the names of both."""
    _write_tokenizer(towers, source, folder)
    _write_graph(_graphs(towers.model)[TEXT_GRAPH], folder / TEXT_GRAPH, folder / weights)
    return [TEXT_GRAPH, TOKENIZER]


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without the folders that its parts were loaded from: they are this machine's alone."""
    kept = {name: value for name, value in config.items() if name != "_name_or_path"}
    return {name: _without_places(value) if isinstance(value, dict) else value for name, value in kept.items()}


def _check_audio(towers: TorchTowers, exported: OnnxTowers) -> None:
    """Refuse a graph that does not give torch's vectors, for windows of three lengths."""
    window = round(towers.windows.window_s * towers.sample_rate)
    noise = np.random.Generator(np.random.PCG64(0)).normal(0, 0.1, window).astype(np.float32)
    waves = noise, noise[window // 3 :], noise[: 1 + window // 20]
    _check_equal(towers.name, [(towers.audio([wave]), exported.audio([wave])) for wave in waves])


def _check_text(towers: TorchTowers, exported: OnnxTowers) -> None:
    """Refuse a graph that does not give torch's vectors, for sentences of two lengths."""
    if towers.model.text_model is not None:
        _check_equal(towers.name, [(towers.text([words]), exported.text([words])) for words in _SENTENCES])


def _check_equal(name: str, pairs: Sequence[tuple[Vectors, Vectors]]) -> None:
    difference = max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)
    if not difference <= LARGEST_DIFFERENCE:  # true for NaN, too
        raise ModelFormatError(f"the exported graphs of {name} differ from torch by {difference:.1g}")


def _write_weights(model: Any, path: Path, *, only: str = "") -> None:
    """Save the weights whose names start with `only`, matrices as float16; put the rounded ones into the model."""
    stored = {
        key: (value.half() if value.is_floating_point() and value.ndim > 1 else value).contiguous()
        for key, value in model.state_dict().items()
        if key.startswith(only)
    }
    save_file(stored, path, metadata={"format": "pt"})
    path.chmod(0o644)
    rounded = {key: value.to(model.state_dict()[key].dtype) for key, value in stored.items()}
    model.load_state_dict(model.state_dict() | rounded)


def _write_tokenizer(towers: TorchTowers, source: Path | None, folder: Path) -> None:
    """Copy the folder's tokenizer; save the one that the towers found where the folder has none, or is on the hub."""
    if source is None or not (source / TOKENIZER).is_file():
        towers.tokenizer.save_pretrained(folder)
        return
    for text in (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json"):
        if (source / text).is_file():
            shutil.copyfile(source / text, folder / text)


def _graphs(model: Any) -> dict[str, _Graph]:
    is_m2d = model.config.model_type == "m2d_clap"
    mels, frames = model.config.audio_config.input_size if is_m2d else (model.config.num_mel_bins, _EXAMPLE_FRAMES)
    log_mel = torch.zeros(2, 1, mels, frames)
    graphs = {AUDIO_GRAPH: _Graph(_AudioGraph(model), {"log_mel": log_mel}, {"log_mel": {0: "batch", 3: "frames"}})}
    if model.text_model is not None:
        tokens = torch.ones(2, _EXAMPLE_TOKENS, dtype=torch.int64)
        axes = {0: "batch", 1: "tokens"}
        graphs[TEXT_GRAPH] = _Graph(
            _TextGraph(model),
            {"input_ids": tokens, "attention_mask": tokens},
            {"input_ids": axes, "attention_mask": axes},
        )
    return graphs


def _write_graph(graph: _Graph, path: Path, weights: Path) -> None:
    import onnx

    # Folding would copy transposed and fused weights into the graph; ONNX Runtime folds when it opens it.
    _trace(graph, path, fold=False)
    model = onnx.load(str(path))
    _refer_to_weights(model, weights)
    path.write_bytes(model.SerializeToString())


def _trace(graph: _Graph, path: Path, *, fold: bool) -> None:
    """Write the graph as torch sees it, numbers inside; where it is to be quantised, norms folded into convolutions."""
    with warnings.catch_warnings():
        # Of branches that tracing fixes: `_check_audio` compares lengths that it was not traced with.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.module.eval(),  # a new wrapper trains, and torch gives back to all parts the state it found it in
            tuple(graph.inputs.values()),
            str(path),
            input_names=list(graph.inputs),
            output_names=["embedding"],
            dynamic_axes=graph.axes | {"embedding": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
            do_constant_folding=fold,
            training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE,
        )


def _refer_to_weights(model: Any, weights: Path) -> None:
    """Turn the graph's weights into references to their bytes in the safetensors file."""
    import onnx

    places = _places(weights)
    casts: dict[str, Any] = {}
    for tensor in model.graph.initializer:
        place = places.get(tensor.name.removeprefix("model."))
        if place is None:
            continue
        shape, name = list(tensor.dims), tensor.name
        kind = onnx.TensorProto.FLOAT16 if place.half else onnx.TensorProto.FLOAT
        tensor.Clear()
        tensor.name = f"{name}.stored" if place.half else name
        tensor.data_type, tensor.data_location = kind, onnx.TensorProto.EXTERNAL
        tensor.dims.extend(shape)
        facts = {"location": weights.name, "offset": place.offset, "length": place.length}
        for key, value in facts.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        if place.half:
            casts[name] = onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT)
    nodes = _gathered_before_cast(list(model.graph.node), casts)
    del model.graph.node[:]
    model.graph.node.extend([*casts.values(), *nodes])


def _gathered_before_cast(nodes: list[Any], casts: dict[str, Any]) -> list[Any]:
    """Take the rows of a table as they are stored and cast those alone, where nothing else reads the table.

    The same numbers; but a vocabulary of 30,000 words is not widened each time that a graph is opened for one sentence.
    Removes the casts of such tables from `casts`.
    """
    gathers = {id(node) for node in nodes if node.op_type == "Gather" and node.input[0] in casts}
    read_otherwise = {name for node in nodes for name in node.input[1 if id(node) in gathers else 0 :]}
    moved = []
    for node in nodes:
        moved.append(node)
        table = node.input[0] if id(node) in gathers else None
        if table is not None and table not in read_otherwise:
            cast = casts[table]
            after = type(cast)()
            after.CopyFrom(cast)
            after.input[0], after.output[0] = f"{node.output[0]}.stored", node.output[0]
            node.input[0], node.output[0] = cast.input[0], after.input[0]
            moved.append(after)
    for table in [name for name in casts if not any(name in node.input for node in nodes)]:
        del casts[table]
    return moved


@dataclass(frozen=True)
class _Place:
    """Where a tensor's bytes lie in a safetensors file."""

    offset: int
    length: int
    half: bool


def _places(weights: Path) -> dict[str, _Place]:
    """Every float tensor of a safetensors file by name."""
    with weights.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_bytes))
    header.pop("__metadata__", None)
    return {
        name: _Place(8 + header_bytes + start, stop - start, facts["dtype"] == "F16")
        for name, facts in header.items()
        if facts["dtype"] in ("F16", "F32")
        for start, stop in [facts["data_offsets"]]
    }


def _manifest(towers: TorchTowers, name: str, folder: Path, files: Sequence[str], precision: str = FP32) -> Manifest:
    return Manifest(
        name=name,
        dim=towers.dim,
        sample_rate=towers.sample_rate,
        window_s=towers.windows.window_s,
        hop_s=towers.windows.hop_s,
        min_samples=getattr(towers.model.config, "min_samples", 0),
        log_mel=LogMelConfig.for_rate(towers.sample_rate),
        max_tokens=towers.max_tokens if TEXT_GRAPH in files else DEFAULT_MAX_TOKENS,
        files={file: file_digest(folder / file) for file in files},
        precision=precision,
    )
