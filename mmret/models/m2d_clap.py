"""M2D-CLAP: M2D's audio tokens and a sentence encoder's vectors in one space (versions of 2024 and 2025)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel, PreTrainedConfig
from transformers import initialization as init
from transformers.configuration_utils import SubConfigSpec
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.generic import ModelOutput

from mmret.errors import ModelFormatError
from mmret.losses.contrastive import infonce, infonce_across_processes
from mmret.models.m2d import KeepsFixedParts, M2DConfig, M2DModel
from mmret.models.m2d_features import M2DFeatures
from mmret.models.m2d_masking import TokenMask
from mmret.models.m2d_pretraining import M2DForPreTraining
from mmret.models.m2d_projectors import MeanMlp, MeanTokens, SemanticToken, semantic_token, text_mlp
from mmret.models.m2d_vit import initialise

AudioProjector = Literal["mean", "mlp", "semantic"]
TextProjector = Literal["identity", "linear", "mlp"]
TextPooling = Literal["first", "mean"]

MAX_LOGIT_SCALE = 4.6052
_NORM_EPS = 1e-12
_LARGEST_TEXT = {"hidden_size": 16_384, "num_hidden_layers": 256, "vocab_size": 4_000_000}
_PRETRAINING_KEYS = [r"^audio_model\.(decoder_|target_|mask_token)"]
_LARGEST_SEMANTIC_DEPTH = 64


class M2DClapConfig(PreTrainedConfig):
    """Sizes of both towers and of the projectors between them; without `text_config`, text vectors come from outside.

    >>> M2DClapConfig(audio_config={"embed_dim": 128, "num_heads": 2}, text_dim=128).audio_config.embed_dim
    128
    """

    model_type = "m2d_clap"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        "audio_config": M2DConfig,
        "text_config": SubConfigSpec(config_class=BertConfig, optional=True),
    }

    # Given as dictionaries or configurations; always configurations once built, the text one possibly None.
    audio_config: Any = None
    text_config: Any = None
    audio_projector: str = "mlp"
    semantic_depth: int = 1
    semantic_mlp_ratio: float = 1.0
    text_projector: str = "identity"
    text_dim: int = 768
    text_pooling: str = "first"
    text_tokenizer: str | None = None
    contrastive_weight: float = 0.01
    initial_logit_scale: float = math.log(1 / 0.07)

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the choices and sizes before anything is built from them."""
        super().__post_init__(**kwargs)
        choices = {"audio_projector": AudioProjector, "text_projector": TextProjector, "text_pooling": TextPooling}
        for name, allowed in choices.items():
            if getattr(self, name) not in get_args(allowed):
                raise ModelFormatError(
                    f"M2DClapConfig: {name} is {getattr(self, name)!r}; use one of {', '.join(get_args(allowed))}"
                )
        _check_sizes(self)

    @property
    def projection_dim(self) -> int:
        """Width of the shared space."""
        return int(self.audio_config.embed_dim)

    @property
    def sample_rate(self) -> int:
        """Rate that the audio tower hears, in Hz."""
        return int(self.audio_config.sample_rate)


def _check_sizes(config: M2DClapConfig) -> None:
    if not 1 <= config.semantic_depth <= _LARGEST_SEMANTIC_DEPTH:
        raise ModelFormatError(
            f"M2DClapConfig: semantic_depth {config.semantic_depth}; 1 to {_LARGEST_SEMANTIC_DEPTH} are possible"
        )
    if not 1 <= config.text_dim <= _LARGEST_TEXT["hidden_size"]:
        raise ModelFormatError(
            f"M2DClapConfig: text_dim {config.text_dim}; 1 to {_LARGEST_TEXT['hidden_size']} are possible"
        )
    if config.text_projector == "identity" and config.text_dim != config.projection_dim:
        raise ModelFormatError(
            f"M2DClapConfig: text vectors {config.text_dim} wide need a text projector to {config.projection_dim}; "
            "set text_projector to 'linear' or 'mlp'"
        )
    for name, largest in _LARGEST_TEXT.items() if config.text_config is not None else ():
        if not 1 <= getattr(config.text_config, name) <= largest:
            raise ModelFormatError(
                f"M2DClapConfig: text {name} {getattr(config.text_config, name)}; 1 to {largest} are possible"
            )


@dataclass
class M2DClapOutput(ModelOutput):
    """Scaled cosines between unit vectors (batch, dim) of both sides, and their contrastive loss if asked for."""

    loss: Tensor | None = None
    logits_per_audio: Tensor | None = None
    logits_per_text: Tensor | None = None
    audio_embeds: Tensor | None = None
    text_embeds: Tensor | None = None


@dataclass
class M2DClapPreTrainingOutput(ModelOutput):
    """Losses of one multi-task step, and the raw vectors (batch, dim) of both sides."""

    loss: Tensor | None = None
    online_loss: Tensor | None = None
    contrastive_loss: Tensor | None = None
    prediction: Tensor | None = None
    hidden: Tensor | None = None
    audio_embeds: Tensor | None = None
    text_embeds: Tensor | None = None


def _audio_projector(config: M2DClapConfig) -> nn.Module:
    if config.audio_projector == "mlp":
        return MeanMlp(config.projection_dim)
    if config.audio_projector == "semantic":
        return semantic_token(config.projection_dim, config.semantic_depth, mlp_ratio=config.semantic_mlp_ratio)
    return MeanTokens()


def _text_projector(config: M2DClapConfig) -> nn.Module:
    if config.text_projector == "linear":
        return nn.Linear(config.text_dim, config.projection_dim)
    return text_mlp(config.text_dim, config.projection_dim) if config.text_projector == "mlp" else nn.Identity()


class M2DClapPreTrainedModel(KeepsFixedParts):
    """Projectors and temperature, shared by the model for use and the one for training."""

    config_class = M2DClapConfig
    base_model_prefix = "m2d_clap"
    main_input_name = "input_features"
    _supports_sdpa = True

    def __init__(self, config: M2DClapConfig) -> None:
        super().__init__(config)
        self.audio_proj = _audio_projector(config)
        self.text_proj = _text_projector(config)
        self.logit_scale = nn.Parameter(torch.tensor(config.initial_logit_scale))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        initialise(module)
        if isinstance(module, SemanticToken):
            init.normal_(module.sem_token, std=0.02)
        elif isinstance(module, M2DClapPreTrainedModel):
            init.constant_(module.logit_scale, module.config.initial_logit_scale)

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Keep the temperature in the reference's range; call after every optimiser step."""
        self.logit_scale.clamp_(0, MAX_LOGIT_SCALE)


class M2DClapModel(M2DClapPreTrainedModel):
    """Audio and text in one space.

    >>> audio = M2DConfig(input_size=(80, 64), embed_dim=16, depth=1, num_heads=2)
    >>> model = M2DClapModel(M2DClapConfig(audio_config=audio, text_dim=16))
    >>> model.get_audio_features(torch.zeros(2, 1, 80, 100)).pooler_output.shape
    torch.Size([2, 16])
    """

    # Folders of the pre-training network open here: its predictor and target are left unread.
    _keys_to_ignore_on_load_unexpected = _PRETRAINING_KEYS

    def __init__(self, config: M2DClapConfig) -> None:
        super().__init__(config)
        self.audio_model = M2DModel(config.audio_config)
        self.text_model = BertModel(config.text_config, add_pooling_layer=False) if config.text_config else None
        self.post_init()

    def embed_audio(self, log_mel: Tensor) -> Tensor:
        """Normalised log-mel (batch, 1, mels, frames) of any length -> raw vectors (batch, dim)."""
        embedded: Tensor = self.audio_proj(M2DFeatures(self.audio_model, "flat").features(log_mel))
        return embedded

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids and mask (batch, tokens), 1 = real -> raw vectors (batch, dim)."""
        if self.text_model is None:
            raise ModelFormatError(
                "this M2D-CLAP has no text encoder of its own; compute sentence vectors with the encoder it was "
                "trained with and give them to `embed_text_vectors`"
            )
        tokens = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.embed_text_vectors(_pool_text(tokens, attention_mask, self.config.text_pooling))

    def embed_text_vectors(self, vectors: Tensor) -> Tensor:
        """Sentence vectors (batch, text dim) of the text encoder -> raw vectors (batch, dim)."""
        embedded: Tensor = self.text_proj(vectors)
        return embedded

    def get_audio_features(self, input_features: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Unit vectors (batch, dim) in `pooler_output` for log-mels (batch, 1, mels, frames), not normalised."""
        embedded = self.embed_audio(self.audio_model.normalise(input_features))
        return BaseModelOutputWithPooling(pooler_output=unit(embedded))

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Unit vectors (batch, dim) in `pooler_output` for token ids and mask (batch, tokens), 1 = real."""
        return BaseModelOutputWithPooling(pooler_output=unit(self.embed_text(input_ids, attention_mask)))

    def forward(
        self,
        input_features: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        return_loss: bool = False,
        **_: Any,
    ) -> M2DClapOutput:
        """Compare log-mels (batch, 1, mels, frames), not normalised, with token ids (captions, tokens)."""
        audio = unit(self.embed_audio(self.audio_model.normalise(input_features)))
        text = unit(self.embed_text(input_ids, attention_mask))
        logits = self.logit_scale.exp() * audio @ text.T
        return M2DClapOutput(
            loss=infonce(audio, text, self.logit_scale) if return_loss else None,
            logits_per_audio=logits,
            logits_per_text=logits.T,
            audio_embeds=audio,
            text_embeds=text,
        )


class M2DClapForPreTraining(M2DClapPreTrainedModel):
    """Masked prediction and captions at once, the trainer of 2024; sentence vectors are given, not computed."""

    def __init__(self, config: M2DClapConfig) -> None:
        super().__init__(config)
        self.audio_model = M2DForPreTraining(config.audio_config)
        self.post_init()

    def forward(
        self,
        input_features: Tensor,
        text_vectors: Tensor | None = None,
        *,
        mask: TokenMask | None = None,
        generator: torch.Generator | None = None,
        **_: Any,
    ) -> M2DClapPreTrainingOutput:
        """One step on normalised log-mels (batch, 1, mels, frames) and sentence vectors (batch, text dim).

        Without text, as in validation, the contrastive loss is 0.
        """
        step = self.audio_model(input_features, mask=mask, generator=generator)
        # The clip's vector is made of what the online side saw: the visible tokens, without CLS.
        audio = self.audio_proj(step.latent[:, 1:])
        text = None if text_vectors is None else self.text_proj(text_vectors)
        zero = step.loss.new_zeros(())
        contrastive = zero if text is None else infonce_across_processes(audio, text, self.logit_scale)
        return M2DClapPreTrainingOutput(
            loss=step.loss + self.config.contrastive_weight * contrastive,
            online_loss=step.online_loss,
            contrastive_loss=contrastive,
            prediction=step.prediction,
            hidden=step.hidden,
            audio_embeds=audio,
            text_embeds=text,
        )


def unit(x: Tensor) -> Tensor:
    """Rows (batch, dim) of length one; a zero row stays zero."""
    return functional.normalize(x.float(), dim=-1, eps=_NORM_EPS).to(x.dtype)


def _pool_text(tokens: Tensor, attention_mask: Tensor, pooling: TextPooling) -> Tensor:
    if pooling == "first":
        return tokens[:, 0]
    mask = attention_mask[..., None].to(tokens.dtype)
    return (tokens * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
