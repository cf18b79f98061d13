"""Published M2D checkpoints as models of this package: shapes decide, the folder name adds only what no tensor says."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, PreTrainedModel

from mmret.errors import ModelFormatError
from mmret.models.m2d import M2DConfig, M2DModel
from mmret.models.m2d_clap import M2DClapConfig, M2DClapModel
from mmret.models.m2d_container import Container, parse_name, read_container
from mmret.models.m2d_heads import M2DForAudioClassification
from mmret.models.m2d_pretraining import M2DForPreTraining

_MELS = 80
_OFFICIAL_HEAD_DIM = 64
_OFFICIAL_DECODER_HEADS = {512: 16, 384: 6}
_DEFAULT_NORM_STATS = (-7.1, 4.2)
_DEFAULT_RATE = 16_000
_BACKBONE = "backbone."
_EVAR_BACKBONE = "module.ar.runtime.backbone."
_EVAR_HEAD = {
    "module.head.norm.running_mean": "head.norm.running_mean",
    "module.head.norm.running_var": "head.norm.running_var",
    "module.head.mlp.mlp.0.weight": "head.linear.weight",
    "module.head.mlp.mlp.0.bias": "head.linear.bias",
}
# The text encoders that published checkpoints include, and how their tokens become one vector.
_TEXT_PREFIXES = {"text_encoder.text_encoder.": "first", "text_encoder.model.": "mean"}
_TEXT_UNUSED = ("pooler.", "embeddings.position_ids")
_TOKENIZERS = {"A": "thenlper/gte-base", "B": "google-bert/bert-base-uncased", "N": "nvidia/NV-Embed-v2"}
_CLAP_PARTS = ("audio_proj.", "text_proj.", "logit_scale")
# Tensors whose sizes become sizes of the model, and their number of axes.
_NEEDED = ("cls_token", "pos_embed", "patch_embed.proj.weight", "norm.weight", "blocks.0.mlp.fc1.weight")
_AXES = {
    "cls_token": 3,
    "pos_embed": 3,
    "patch_embed.proj.weight": 4,
    "norm.weight": 1,
    "blocks.0.mlp.fc1.weight": 2,
    "norm_stats": 1,
    "mask_token": 3,
    "offline_predictor.weight": 2,
    "audio_proj.sem_token": 3,
    "audio_proj.sem_blocks.0.mlp.fc1.weight": 2,
    "text_proj.weight": 2,
    "text_proj.0.weight": 2,
}
_PRETRAINING_PARTS = ("decoder_", "target_", "offline_predictor.", "mask_token")

Weights = dict[str, Tensor]


def load_m2d_checkpoint(
    path: str | os.PathLike[str],
    *,
    num_heads: int | None = None,
    text_num_heads: int | None = None,
    sample_rate: int | None = None,
) -> PreTrainedModel:
    """Open a published `.pth` file as the model it holds, in eval mode.

    A checkpoint with a CLAP projector becomes an `M2DClapModel`, one with a fine-tuned head an
    `M2DForAudioClassification`, any other an `M2DModel` (see `load_m2d_pretraining` for the whole network). Head
    counts are width / 64 unless given.
    """
    container = read_container(Path(path))
    encoder = _encoder_weights(container)
    config = _encoder_config(container, encoder, num_heads=num_heads, sample_rate=sample_rate)
    head = {ours: container.tensors[theirs] for theirs, ours in _EVAR_HEAD.items() if theirs in container.tensors}
    if head:
        return _classifier(container.path, config, encoder, head)
    if any(key.startswith(("audio_proj.", "text_proj.")) for key in encoder):
        return _clap(container, config, encoder, text_num_heads)
    model = M2DModel(config)
    _fill(model, _encoder_part(encoder), container.path)
    return model


def load_m2d_pretraining(
    path: str | os.PathLike[str],
    *,
    num_heads: int | None = None,
    decoder_num_heads: int | None = None,
    sample_rate: int | None = None,
) -> M2DForPreTraining:
    """Open a published pre-training checkpoint with its predictor and target, for further pre-training."""
    container = read_container(Path(path))
    weights = _encoder_weights(container)
    config = _encoder_config(container, weights, num_heads=num_heads, sample_rate=sample_rate)
    if "mask_token" not in weights or "decoder_pred.weight" not in weights:
        raise ModelFormatError(f"{path}: holds an encoder without predictor; open it with load_m2d_checkpoint")
    width = weights["mask_token"].shape[-1]
    heads = decoder_num_heads or _OFFICIAL_DECODER_HEADS.get(width)
    if heads is None:
        raise ModelFormatError(f"{path}: the predictor is {width} wide; say its number of heads (decoder_num_heads)")
    settings = config.to_diff_dict() | {
        "decoder_embed_dim": width,
        "decoder_depth": _depth(weights, "decoder_blocks."),
        "decoder_num_heads": heads,
    }
    if "target_norm.weight" not in weights:
        settings |= {"prediction_target": "pixels", "token_loss": "mse", "standardise_target": False}
    if "offline_predictor.weight" in weights:
        offline_dim = weights["offline_predictor.weight"].shape[0]
        # The tensors cannot tell labels from a teacher's features, but only the latter are as wide as tokens.
        is_teacher = offline_dim % config.embed_dim == 0
        settings |= {"offline_task": "distil" if is_teacher else "tags", "offline_dim": offline_dim}
    kept = {key: value for key, value in weights.items() if not key.startswith(_CLAP_PARTS)}
    model = M2DForPreTraining(M2DConfig(**settings))
    _fill(model, kept, container.path)
    return model


def convert_checkpoint(
    path: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    num_heads: int | None = None,
    text_num_heads: int | None = None,
    sample_rate: int | None = None,
) -> Path:
    """Write a published checkpoint as a transformers folder; `AutoModel.from_pretrained` opens it.

    The folder appears whole or not at all; an existing one is never touched.
    """
    out = Path(out_dir)
    if out.exists():
        raise ModelFormatError(f"{out} already exists; choose another folder or remove it")
    model = load_m2d_checkpoint(path, num_heads=num_heads, text_num_heads=text_num_heads, sample_rate=sample_rate)
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    try:
        model.save_pretrained(partial)
        partial.chmod(0o755)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return out


def clap_names(weights: Mapping[str, Tensor]) -> Weights:
    """Published names of a CLAP checkpoint -> names in `M2DClapModel`: projectors stay, the rest is the audio tower."""
    return {key if key.startswith(_CLAP_PARTS) else f"audio_model.{key}": value for key, value in weights.items()}


def _encoder_weights(container: Container) -> Weights:
    """Everything below the encoder's own root, in float32, with the default statistics where none are stored."""
    tensors = container.tensors
    if any(key.startswith(_BACKBONE) for key in tensors):
        weights = {key.removeprefix(_BACKBONE): value for key, value in tensors.items() if key.startswith(_BACKBONE)}
        weights |= {key: value for key, value in tensors.items() if key == "logit_scale"}
    else:
        weights = {key.removeprefix(_EVAR_BACKBONE): value for key, value in tensors.items()}
    weights = {
        key.replace("decoder_blocks.layers.", "decoder_blocks."): value
        for key, value in weights.items()
        if not key.startswith(("module.", "text_encoder."))
    }
    _check_encoder(container.path, weights)
    weights.setdefault("norm_stats", torch.tensor(_DEFAULT_NORM_STATS))
    return {key: _plain(container.path, key, value) for key, value in weights.items()}


def _check_encoder(path: Path, weights: Weights) -> None:
    if any(key.endswith("attn.q_bias") for key in weights):
        raise ModelFormatError(
            f"{path}: is of the original MSM-MAE repository (q_bias instead of qkv.bias), another architecture than "
            "M2D's; convert one of the msm_mae checkpoints of the M2D repository instead"
        )
    missing = [key for key in _NEEDED if key not in weights]
    if missing:
        raise ModelFormatError(f"{path}: has no {', '.join(missing)}; it is no M2D checkpoint, or only a part of one")
    for key in weights.keys() & _AXES.keys():
        sizes = tuple(weights[key].shape)
        if len(sizes) != _AXES[key] or 0 in sizes:
            raise ModelFormatError(f"{path}: {key} has shape {sizes}, {_AXES[key]} axes were expected")
    if weights.get("norm_stats", torch.zeros(2)).shape != (2,):
        raise ModelFormatError(f"{path}: norm_stats has shape {tuple(weights['norm_stats'].shape)}, not (2,)")


def _plain(path: Path, key: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        raise ModelFormatError(f"{path}: {key} holds {tensor.dtype} values; quantised checkpoints are not read")
    plain = tensor.detach().float().contiguous()  # first, because not every kind of float can be tested as it is
    if not torch.isfinite(plain).all():
        raise ModelFormatError(f"{path}: {key} holds values that are not finite; the training run behind it broke")
    return plain


def _depth(weights: Mapping[str, Tensor], prefix: str) -> int:
    """Number of blocks under a prefix."""
    numbers = (key.removeprefix(prefix).partition(".")[0] for key in weights if key.startswith(prefix))
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)


def _heads(path: Path, width: int, given: int | None, option: str) -> int:
    heads = given or (width // _OFFICIAL_HEAD_DIM if width % _OFFICIAL_HEAD_DIM == 0 else 0)
    if heads < 1 or width % heads:
        raise ModelFormatError(
            f"{path}: no tensor tells the number of attention heads, and width {width} does not divide into "
            f"{given or 'heads of 64'}; say it ({option})"
        )
    return heads


def _encoder_config(
    container: Container, weights: Weights, *, num_heads: int | None, sample_rate: int | None
) -> M2DConfig:
    path, hints = container.path, parse_name(container.path)
    width, _, patch_mels, patch_frames = weights["patch_embed.proj.weight"].shape
    rows = _MELS // patch_mels if patch_mels else 0
    tokens = weights["pos_embed"].shape[1] - 1
    if rows < 1 or tokens < rows or tokens % rows:
        raise ModelFormatError(
            f"{path}: {tokens} positions do not fit {_MELS} mel bands in patches of {patch_mels}x{patch_frames}"
        )
    mean, std = weights["norm_stats"].tolist()
    return M2DConfig(
        input_size=(_MELS, _input_frames(container, hints.frames, patch_frames, tokens // rows)),
        patch_size=(patch_mels, patch_frames),
        embed_dim=width,
        depth=_depth(weights, "blocks."),
        num_heads=_heads(path, width, num_heads, "num_heads"),
        mlp_ratio=weights["blocks.0.mlp.fc1.weight"].shape[0] / width,
        sample_rate=sample_rate or hints.sample_rate or _DEFAULT_RATE,
        norm_mean=mean,
        norm_std=std,
    )


def _input_frames(container: Container, named: int | None, patch_frames: int, columns: int) -> int:
    """Input length in frames: as named or as trained where that agrees with the positions, else whole patches."""
    trained = container.arguments.get("input_size")
    trained_frames = trained[1] if isinstance(trained, (list, tuple)) and len(trained) == 2 else None
    for frames in (named, trained_frames):
        if isinstance(frames, int) and frames // patch_frames == columns:
            return frames
    return columns * patch_frames


def _encoder_part(weights: Weights) -> Weights:
    outside = (*_CLAP_PARTS, *_PRETRAINING_PARTS)
    return {key: value for key, value in weights.items() if not key.startswith(outside)}


def _classifier(path: Path, config: M2DConfig, encoder: Weights, head: Weights) -> M2DForAudioClassification:
    if set(head) != set(_EVAR_HEAD.values()) or head["head.linear.weight"].ndim != 2:
        raise ModelFormatError(f"{path}: its classification head is incomplete")
    classes, width = head["head.linear.weight"].shape
    settings = config.to_diff_dict() | {
        "feature_layout": "flat" if width == config.embed_dim else "stacked",
        "num_labels": classes,
    }
    model = M2DForAudioClassification(M2DConfig(**settings))
    weights = {f"m2d.{key}": value for key, value in _encoder_part(encoder).items()}
    weights |= {key: _plain(path, key, value) for key, value in head.items()}
    weights["head.norm.num_batches_tracked"] = torch.tensor(0)
    _fill(model, weights, path)
    return model


def _clap(container: Container, audio: M2DConfig, encoder: Weights, text_num_heads: int | None) -> M2DClapModel:
    path, letter = container.path, parse_name(container.path).text_encoder
    text, pooling = _text_weights(container)
    settings: dict[str, Any] = {"text_pooling": pooling, "text_tokenizer": _TOKENIZERS.get(letter or "")}
    settings |= _audio_projector(encoder) | _text_projector(encoder, audio.embed_dim)
    if text:
        settings["text_config"] = _text_config(path, text, text_num_heads).to_dict()
    model = M2DClapModel(M2DClapConfig(audio_config=audio.to_dict(), **settings))
    projectors = {key: value for key, value in encoder.items() if key.startswith(_CLAP_PARTS)}
    weights = {"logit_scale": model.logit_scale.detach()} | clap_names(_encoder_part(encoder) | projectors)
    weights |= {f"text_model.{key}": value for key, value in text.items()}
    _fill(model, weights, path)
    return model


def _audio_projector(encoder: Weights) -> dict[str, Any]:
    if "audio_proj.sem_token" in encoder:
        hidden = encoder.get("audio_proj.sem_blocks.0.mlp.fc1.weight", encoder["audio_proj.sem_token"].mT)
        return {
            "audio_projector": "semantic",
            "semantic_depth": _depth(encoder, "audio_proj.sem_blocks."),
            "semantic_mlp_ratio": hidden.shape[0] / encoder["audio_proj.sem_token"].shape[-1],
        }
    return {"audio_projector": "mlp" if "audio_proj.0.weight" in encoder else "mean"}


def _text_projector(encoder: Weights, width: int) -> dict[str, Any]:
    if "text_proj.0.weight" in encoder:
        return {"text_projector": "mlp", "text_dim": encoder["text_proj.0.weight"].shape[-1]}
    if "text_proj.weight" in encoder:
        return {"text_projector": "linear", "text_dim": encoder["text_proj.weight"].shape[-1]}
    return {"text_projector": "identity", "text_dim": width}


def _text_weights(container: Container) -> tuple[Weights, str]:
    """Weights of the included text encoder under BERT's own names (none if it has none), and its pooling."""
    for prefix, pooling in _TEXT_PREFIXES.items():
        text = {key.removeprefix(prefix): value for key, value in container.tensors.items() if key.startswith(prefix)}
        if text:
            kept = {key: value for key, value in text.items() if not key.startswith(_TEXT_UNUSED)}
            return {key: _plain(container.path, key, value) for key, value in kept.items()}, pooling
    return {}, "first"


def _text_config(path: Path, text: Weights, num_heads: int | None) -> BertConfig:
    try:
        vocabulary, width = text["embeddings.word_embeddings.weight"].shape
        return BertConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=_depth(text, "encoder.layer."),
            num_attention_heads=_heads(path, width, num_heads, "text_num_heads"),
            intermediate_size=text["encoder.layer.0.intermediate.dense.weight"].shape[0],
            max_position_embeddings=text["embeddings.position_embeddings.weight"].shape[0],
            type_vocab_size=text["embeddings.token_type_embeddings.weight"].shape[0],
        )
    except (KeyError, ValueError) as error:
        raise ModelFormatError(f"{path}: its text encoder is no BERT ({error} is missing or misshapen)") from error


def _fill(model: PreTrainedModel, weights: Weights, path: Path) -> None:
    """Load weights strictly and switch to eval mode."""
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1:4]
        raise ModelFormatError(f"{path}: does not fit the architecture its shapes imply: {' '.join(first)}") from error
    model.eval()
