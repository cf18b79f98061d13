"""M2D's encoder (Niizumi et al., "Masked Modeling Duo", 2024): one configuration for the whole family, one encoder.

Everything here takes log-mels that are already normalised by `M2DModel.normalise`, as the published training does;
`mmret.models.m2d_features` starts from waveforms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput

from mmret.errors import ModelFormatError
from mmret.models.m2d_vit import (
    BlockSize,
    PatchEmbed,
    block_stack,
    crop_positions,
    initialise,
    resize_positions,
    sincos_positions,
)

FeatureLayout = Literal["stacked", "flat"]
PredictionTarget = Literal["features", "pixels"]
TargetInput = Literal["masked", "all"]
TokenLoss = Literal["norm_mse", "mse"]
OfflineTask = Literal["none", "distil", "tags"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "feature_layout": get_args(FeatureLayout),
    "prediction_target": get_args(PredictionTarget),
    "target_input": get_args(TargetInput),
    "token_loss": get_args(TokenLoss),
    "offline_task": get_args(OfflineTask),
}
# Far above any published model: a config.json beyond these is damaged or hostile, and building it would exhaust memory.
_LARGEST = {
    "embed_dim": 8192,
    "depth": 256,
    "num_heads": 256,
    "decoder_embed_dim": 8192,
    "decoder_depth": 256,
    "decoder_num_heads": 256,
    "mask_run": 65_536,
    "offline_dim": 1_000_000,
    "sample_rate": 768_000,
}
_KEYS_BESIDE_ENCODER = [r"^(decoder_|target_|offline_predictor\.)", r"^mask_token$", r"^head\."]
_LARGEST_TOKENS = 65_536
_LARGEST_MLP_RATIO = 64


class M2DConfig(PreTrainedConfig):
    """Sizes of an M2D model, and what its pre-training predicts; the defaults are the published base model.

    `input_size` and `patch_size` are (mels, frames); `norm_mean` and `norm_std` are of the log-mel. `mask_run` above 0
    hides time columns in runs of that many instead of single patches. `target_layers` names blocks of the target
    network whose outputs are averaged, before the norm, as what is predicted; none means its normed last output.

    >>> M2DConfig(input_size=(80, 208)).grid_size
    (5, 13)
    """

    model_type = "m2d"

    input_size: tuple[int, int] = (80, 608)
    patch_size: tuple[int, int] = (16, 16)
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    layer_norm_eps: float = 1e-6
    sample_rate: int = 16_000
    norm_mean: float = -7.1
    norm_std: float = 4.2
    feature_layout: str = "stacked"

    decoder_embed_dim: int = 512
    decoder_depth: int = 8
    decoder_num_heads: int = 16
    mask_ratio: float = 0.7
    mask_run: int = 0
    target_layers: tuple[int, ...] = ()
    prediction_target: str = "features"
    target_input: str = "masked"
    token_loss: str = "norm_mse"
    standardise_target: bool = True
    online_weight: float = 1.0
    offline_task: str = "none"
    offline_dim: int = 0
    offline_weight: float = 1.0

    def __post_init__(self, **kwargs: Any) -> None:
        """Check every size before anything is built from it."""
        super().__post_init__(**kwargs)
        self.input_size = _pair("input_size", self.input_size)
        self.patch_size = _pair("patch_size", self.patch_size)
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ModelFormatError(f"M2DConfig: {name} is {getattr(self, name)!r}; use one of {', '.join(allowed)}")
        if self.offline_task != "none" and (self.prediction_target != "features" or self.offline_dim < 1):
            raise ModelFormatError("M2DConfig: an offline_task needs offline_dim >= 1 and prediction_target 'features'")
        _check_sizes(self)

    @property
    def grid_size(self) -> tuple[int, int]:
        """Frequency rows and time columns of the patch grid."""
        return self.input_size[0] // self.patch_size[0], self.input_size[1] // self.patch_size[1]

    @property
    def feature_dim(self) -> int:
        """Width of runtime features in the layout of this model."""
        return self.embed_dim * (self.grid_size[0] if self.feature_layout == "stacked" else 1)

    @property
    def block_size(self) -> BlockSize:
        """Sizes of the encoder's blocks."""
        return BlockSize(self.embed_dim, self.num_heads, self.mlp_ratio, self.layer_norm_eps)

    @property
    def decoder_block_size(self) -> BlockSize:
        """Sizes of the predictor's blocks."""
        return BlockSize(self.decoder_embed_dim, self.decoder_num_heads, self.mlp_ratio, self.layer_norm_eps)


def _pair(name: str, size: Sequence[int]) -> tuple[int, int]:
    """A (mels, frames) pair; JSON gives it as a list."""
    if len(size) != 2 or not all(isinstance(n, int) and n >= 1 for n in size):
        raise ModelFormatError(f"M2DConfig: {name} is {size!r}; it must be (mels, frames), both at least 1")
    return size[0], size[1]


def _check_sizes(config: M2DConfig) -> None:
    for name, largest in _LARGEST.items():
        value = getattr(config, name)
        smallest = 0 if name in ("decoder_depth", "mask_run", "offline_dim") else 1
        if not isinstance(value, int) or not smallest <= value <= largest:
            raise ModelFormatError(f"M2DConfig: {name} is {value!r}; it must be a whole number {smallest} to {largest}")
    if not 0 < config.mlp_ratio <= _LARGEST_MLP_RATIO:
        raise ModelFormatError(f"M2DConfig: mlp_ratio is {config.mlp_ratio!r}; it must be in (0, {_LARGEST_MLP_RATIO}]")
    config.target_layers = tuple(config.target_layers)
    if not all(isinstance(n, int) and 0 <= n < config.depth for n in config.target_layers):
        raise ModelFormatError(f"M2DConfig: target_layers {config.target_layers}: blocks are 0 to {config.depth - 1}")
    rows, columns = config.grid_size
    if not 1 <= rows * columns <= _LARGEST_TOKENS:
        raise ModelFormatError(
            f"M2DConfig: input_size {config.input_size} in patches of {config.patch_size} gives "
            f"{rows * columns} tokens; 1 to {_LARGEST_TOKENS} are possible"
        )
    for width, heads in (("embed_dim", "num_heads"), ("decoder_embed_dim", "decoder_num_heads")):
        if getattr(config, width) % getattr(config, heads) or getattr(config, width) % 4:
            raise ModelFormatError(
                f"M2DConfig: {width} {getattr(config, width)} must be divisible by 4 and by {heads} "
                f"{getattr(config, heads)}"
            )


class KeepsFixedParts(PreTrainedModel):
    """A model whose fixed parts stay fixed: what transformers opens from a folder is trainable throughout."""

    @classmethod
    def from_pretrained(cls, *arguments: Any, **options: Any) -> Any:
        """Open a folder as transformers does, then freeze what never trains."""
        opened = super().from_pretrained(*arguments, **options)
        _freeze_fixed_parts(opened[0] if isinstance(opened, tuple) else opened)
        return opened

    def post_init(self) -> None:
        """Finish a newly built model."""
        super().post_init()
        _freeze_fixed_parts(self)


def _freeze_fixed_parts(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, M2DEncoder):
            for name in module.fixed_parts:
                part = getattr(module, name, None)
                if part is not None:
                    part.requires_grad_(False)


class M2DPreTrainedModel(KeepsFixedParts):
    """Base that ties M2D to transformers' loading and saving."""

    config_class = M2DConfig
    base_model_prefix = "m2d"
    main_input_name = "input_features"
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        initialise(module)
        if isinstance(module, M2DEncoder):
            config = module.config
            init.normal_(module.cls_token, std=0.02)
            init.copy_(module.pos_embed, sincos_positions(config.grid_size, config.embed_dim))
            init.copy_(module.norm_stats, torch.tensor([config.norm_mean, config.norm_std]))


class M2DEncoder(M2DPreTrainedModel):
    """Patches, positions and blocks: what the plain model and the pre-training network share."""

    fixed_parts: ClassVar[tuple[str, ...]] = ("pos_embed", "norm_stats")

    def __init__(self, config: M2DConfig) -> None:
        super().__init__(config)
        tokens = config.grid_size[0] * config.grid_size[1]
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + tokens, config.embed_dim))
        self.norm_stats = nn.Parameter(torch.tensor([config.norm_mean, config.norm_std]))
        self.patch_embed = PatchEmbed(config.patch_size, config.embed_dim)
        self.blocks = block_stack(config.block_size, config.depth)
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)

    def normalise(self, log_mel: Tensor) -> Tensor:
        """Log-mel of any shape -> the same shape with the training set's mean 0 and deviation 1."""
        return (log_mel - self.norm_stats[0]) / self.norm_stats[1]

    def patch_tokens(self, input_features: Tensor) -> Tensor:
        """Normalised log-mel (batch, 1, mels, frames) -> patches with positions (batch, tokens, dim), no CLS."""
        expected = self.config.input_size[0]
        if input_features.ndim != 4 or input_features.shape[1:3] != (1, expected):
            raise ValueError(
                f"input_features of shape {tuple(input_features.shape)}: need (batch, 1, {expected}, frames)"
            )
        columns = input_features.shape[-1] // self.config.patch_size[1]
        if columns < 1:
            raise ValueError(f"{input_features.shape[-1]} frames fill no patch of {self.config.patch_size[1]} frames")
        positions = crop_positions(self.pos_embed, self.config.grid_size[0], columns)
        tokens: Tensor = self.patch_embed(input_features) + positions[:, 1:]
        return tokens

    def with_cls(self, tokens: Tensor) -> Tensor:
        """Prepend the CLS token: (batch, tokens, dim) -> (batch, 1 + tokens, dim)."""
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(tokens.shape[0], -1, -1)
        return torch.cat([cls, tokens], dim=1)

    def encode(self, tokens: Tensor) -> list[Tensor]:
        """Tokens (batch, 1 + tokens, dim) with CLS -> output of every block, the last one after the final norm."""
        layers = []
        for block in self.blocks:
            tokens = block(tokens)
            layers.append(tokens)
        layers[-1] = self.norm(layers[-1])
        return layers

    def encode_log_mel(self, input_features: Tensor) -> list[Tensor]:
        """Normalised log-mel (batch, 1, mels, frames) -> the layers of `encode`, in one pass."""
        return self.encode(self.with_cls(self.patch_tokens(input_features)))

    def encode_some(self, input_features: Tensor, kept: Tensor) -> Tensor:
        """Last layer (batch, kept, dim), no CLS, of the tokens numbered `kept` (batch, kept) alone."""
        tokens = self.patch_tokens(input_features)
        tokens = tokens.gather(1, kept[..., None].expand(-1, -1, tokens.shape[-1]))
        return self.encode(self.with_cls(tokens))[-1][:, 1:]

    def set_duration(self, frames: int) -> None:
        """Make `frames` the input length: positions are stretched (bicubic) for longer input, cropped for shorter."""
        rows, _ = self.config.grid_size
        columns = frames // self.config.patch_size[1]
        if columns < 1:
            raise ValueError(f"{frames} frames fill no patch of {self.config.patch_size[1]} frames")
        table = resize_positions(self.pos_embed.detach(), rows, columns)
        self.pos_embed = nn.Parameter(table, requires_grad=False)
        self.config.input_size = (self.config.input_size[0], frames)


class M2DModel(M2DEncoder):
    """Encoder of log-mel patches.

    >>> config = M2DConfig(input_size=(80, 64), embed_dim=16, depth=1, num_heads=2)
    >>> M2DModel(config)(torch.zeros(2, 1, 80, 48)).last_hidden_state.shape
    torch.Size([2, 16, 16])
    """

    # Folders of the pre-training network or of a classifier open as an encoder: the rest of them is left unread.
    _keys_to_ignore_on_load_unexpected = _KEYS_BESIDE_ENCODER

    def __init__(self, config: M2DConfig) -> None:
        super().__init__(config)
        self.post_init()

    def forward(self, input_features: Tensor, output_hidden_states: bool = False, **_: Any) -> BaseModelOutput:
        """Encode a normalised log-mel (batch, 1, mels, frames) in one pass.

        `last_hidden_state` is (batch, 1 + tokens, dim) with CLS first, patches frequency-major. `hidden_states` has
        one entry a block, the last after the final norm; frames beyond the model's input length are an error.
        """
        layers = self.encode_log_mel(input_features)
        return BaseModelOutput(
            last_hidden_state=layers[-1], hidden_states=tuple(layers) if output_hidden_states else None
        )
