"""Export: a model folder for the light runtime. The graphs carry no numbers of their own, they point into the weights.

Both graphs lie beside model.safetensors' numbers: every weight is an external reference to its place in that file
(stored as float16, cast to float32 when the graph is opened). So torch and ONNX Runtime read the very same numbers,
and the folder holds them once.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mmret._optional import require
from mmret.audio.logmel import LogMelConfig
from mmret.encoder.manifest import AUDIO_GRAPH, TEXT_GRAPH, TOKENIZER, WEIGHTS, Manifest, file_digest
from mmret.encoder.onnx_towers import OnnxTowers
from mmret.encoder.torch_towers import DEFAULT_MAX_TOKENS, TorchTowers, load_towers
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


def export_folder(model_folder: str | Path, out: str | Path, *, name: str | None = None) -> Path:
    """Write OUT, a complete folder for both runtimes, from a ConvClap or M2D-CLAP folder; whole or not at all."""
    require("onnx", extra="models")
    model_folder, out = Path(model_folder), Path(out)
    if out.exists():
        raise ModelFormatError(f"{out} exists already; name a folder that does not")
    if not model_folder.is_dir():
        raise ModelFormatError(f"{model_folder} is no model folder")
    towers = load_towers(str(model_folder), model_folder)
    if towers.model.config.model_type not in _EXPORTED:
        raise ModelFormatError(
            f"{model_folder} is a {towers.model.config.model_type} model, which runs on torch: "
            "give the folder itself to --model"
        )
    towers.model.cpu()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        _write_folder(towers, model_folder, folder, name=name or out.name)
        folder.rename(out)
    return out


def _write_folder(towers: TorchTowers, source: Path, folder: Path, *, name: str) -> None:
    model = towers.model
    _write_weights(model, folder)
    config = _without_places(model.config.to_dict()) | {"dtype": "float16"}
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    files = [WEIGHTS, AUDIO_GRAPH]
    if model.text_model is not None:
        _write_tokenizer(towers, source, folder)
        files += [TEXT_GRAPH, TOKENIZER]
    for graph_name, graph in _graphs(model).items():
        _write_graph(graph, folder / graph_name, folder / WEIGHTS)
    _manifest(towers, name, {file: folder / file for file in files}).write(folder)
    _check_export(towers, OnnxTowers(folder))


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without the folders that its parts were loaded from: they are this machine's alone."""
    kept = {name: value for name, value in config.items() if name != "_name_or_path"}
    return {name: _without_places(value) if isinstance(value, dict) else value for name, value in kept.items()}


def _check_export(towers: TorchTowers, exported: OnnxTowers) -> None:
    """Refuse graphs that do not give torch's vectors, for windows of three lengths and sentences of two."""
    window = round(towers.windows.window_s * towers.sample_rate)
    noise = np.random.Generator(np.random.PCG64(0)).normal(0, 0.1, window).astype(np.float32)
    waves = noise, noise[window // 3 :], noise[: 1 + window // 20]
    pairs = [(towers.audio([wave]), exported.audio([wave])) for wave in waves]
    if towers.model.text_model is not None:
        pairs += [(towers.text([words]), exported.text([words])) for words in _SENTENCES]
    difference = max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)
    if not difference <= LARGEST_DIFFERENCE:  # true for NaN, too
        raise ModelFormatError(f"the exported graphs of {towers.name} differ from torch by {difference:.1g}")


def _write_weights(model: Any, folder: Path) -> None:
    """Save the weights, matrices as float16, and put the rounded numbers back into the model."""
    stored = {
        key: (value.half() if value.is_floating_point() and value.ndim > 1 else value).contiguous()
        for key, value in model.state_dict().items()
    }
    save_file(stored, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)
    model.load_state_dict({key: value.to(model.state_dict()[key].dtype) for key, value in stored.items()})


def _write_tokenizer(towers: TorchTowers, source: Path, folder: Path) -> None:
    """Copy the folder's tokenizer; save the one that the configuration names where the folder has none."""
    if not (source / TOKENIZER).is_file():
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

    with warnings.catch_warnings():
        # Of branches that tracing fixes: `_check_export` compares lengths that it was not traced with.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.module,
            tuple(graph.inputs.values()),
            str(path),
            input_names=list(graph.inputs),
            output_names=["embedding"],
            dynamic_axes=graph.axes | {"embedding": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
            # Folding would copy transposed and fused weights into the graph; ONNX Runtime folds when it opens it.
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    model = onnx.load(str(path))
    _refer_to_weights(model, weights)
    path.write_bytes(model.SerializeToString())


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


def _manifest(towers: TorchTowers, name: str, files: Mapping[str, Path]) -> Manifest:
    return Manifest(
        name=name,
        dim=towers.dim,
        sample_rate=towers.sample_rate,
        window_s=towers.windows.window_s,
        hop_s=towers.windows.hop_s,
        min_samples=getattr(towers.model.config, "min_samples", 0),
        log_mel=LogMelConfig.for_rate(towers.sample_rate),
        max_tokens=towers.max_tokens if TEXT_GRAPH in files else DEFAULT_MAX_TOKENS,
        files={file: file_digest(path) for file, path in files.items()},
    )
