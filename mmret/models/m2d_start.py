"""Starting a run from a trained M2D: which folder or file fits, and what is taken from it."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from mmret.errors import ModelFormatError, TrainingError
from mmret.models.m2d import M2DConfig, M2DModel
from mmret.models.m2d_checkpoint import load_m2d_checkpoint, load_m2d_pretraining
from mmret.models.m2d_pretraining import M2DForPreTraining

SIZES = (
    "input_size",
    "patch_size",
    "embed_dim",
    "depth",
    "num_heads",
    "mlp_ratio",
    "decoder_embed_dim",
    "decoder_depth",
    "decoder_num_heads",
)
_PUBLISHED = ".pth"
_WEIGHTS = "model.safetensors"


def start_config(source: Path, ours: M2DConfig, setting: str = "model.audio_config") -> M2DConfig:
    """Configuration of a pre-trained M2D folder, refused unless its sizes are those of this run.

    `setting` is the place of ours among the settings of the run, for the message.
    """
    _require(source)
    config = AutoConfig.from_pretrained(source)
    if not isinstance(config, M2DConfig):
        raise TrainingError(f"{source} is a {config.model_type} model; start from RUN/model of train/m2d.py")
    _check_sizes(source, config, ours, setting)
    return config


def start_from(model: M2DForPreTraining, source: Path) -> None:
    """Begin further pre-training: take the weights of a folder, or of a published .pth, that this network has.

    What the source lacks (an encoder has no predictor, plain M2D no additional task) keeps its new weights, as does the
    normalisation, which belongs to the data of the run.
    """
    _require(source)
    if source.suffix == _PUBLISHED:
        published = load_m2d_pretraining(source)
        _check_sizes(source, published.config, model.config, "model")
        weights: dict[str, Tensor] = published.state_dict()
    else:
        start_config(source, model.config, "model")
        weights = load_file(source / _WEIGHTS)
    own = model.state_dict()
    taken = {name: w for name, w in weights.items() if name in own and w.shape == own[name].shape}
    taken.pop("norm_stats", None)
    lacking = {name for name in M2DModel(model.config).state_dict() if name != "norm_stats"} - taken.keys()
    if lacking:
        raise ModelFormatError(f"{source} has no {min(lacking)}; it holds no whole encoder to start from")
    model.load_state_dict(taken, strict=False)


def open_teacher(source: Path) -> M2DModel:
    """Frozen M2D encoder in eval mode, from a folder of any M2D or a published .pth."""
    _require(source)
    if source.suffix == _PUBLISHED:
        opened: PreTrainedModel = load_m2d_checkpoint(source)
    else:
        opened = M2DModel.from_pretrained(source)
    if not isinstance(opened, M2DModel):
        raise ModelFormatError(f"{source} is no plain M2D encoder; convert it with: mmret convert, and give an encoder")
    return opened.eval().requires_grad_(False)


def _require(source: Path) -> None:
    """Refuse what is not there, which transformers would take for a hub id and look for in the network."""
    if source.suffix == _PUBLISHED:
        if not source.is_file():
            raise ModelFormatError(f"{source}: no such file; give a model folder or a published {_PUBLISHED}")
    elif not (source / "config.json").is_file():
        reason = "no model folder, as it has no config.json" if source.exists() else "no such folder"
        raise ModelFormatError(f"{source}: {reason}; give a model folder or a published {_PUBLISHED}")


def _check_sizes(source: Path, theirs: M2DConfig, ours: M2DConfig, setting: str) -> None:
    for name in SIZES:
        if getattr(theirs, name) != getattr(ours, name):
            raise TrainingError(
                f"{source} has {name} {getattr(theirs, name)}, this run {getattr(ours, name)}: start from another "
                f"model, or set --{setting}.{name} to {getattr(theirs, name)}"
            )
