"""One fixture of parity/m2d: its options, its arrays, and models built and checked from them."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmret.models.m2d import M2DConfig
from mmret.models.m2d_masking import TokenMask


class Fixture:
    """Arrays of one npz as tensors, with the options it was made with."""

    def __init__(self, path: Path) -> None:
        self.arrays = np.load(path, allow_pickle=False)

    @cached_property
    def options(self) -> dict[str, Any]:
        return json.loads(str(self.arrays["config"]))

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def __contains__(self, name: str) -> bool:
        return name in self.arrays.files

    def weights(self, prefix: str = "w.") -> dict[str, Tensor]:
        return {key.removeprefix(prefix): self[key] for key in self.arrays.files if key.startswith(prefix)}

    def config(self, **changes: Any) -> M2DConfig:
        """The options under the reference's names, as our configuration."""
        theirs = self.options
        same = ("embed_dim", "depth", "num_heads", "mlp_ratio", "layer_norm_eps", "mask_ratio")
        same += ("decoder_embed_dim", "decoder_depth", "decoder_num_heads")
        renamed = {"img_size": "input_size", "patch_size": "patch_size", "loss_type": "token_loss"}
        renamed |= {"norm_pix_loss": "standardise_target", "sr": "sample_rate"}
        renamed |= {"loss_m2d": "online_weight", "loss_off": "offline_weight"}
        ours = {name: theirs[name] for name in same if name in theirs}
        ours |= {name: theirs[key] for key, name in renamed.items() if key in theirs}
        return M2DConfig(**ours | changes)

    def mask(self) -> TokenMask:
        return TokenMask(self["ids_restore"], self.options["len_keep"])

    def assert_close(self, actual: Tensor, name: str, *, rtol: float = 1e-5, atol: float = 1e-6) -> None:
        torch.testing.assert_close(
            actual.detach(), self[name], rtol=rtol, atol=atol, check_dtype=False, msg=lambda text: f"{name}: {text}"
        )

    def assert_gradients(self, gradients: dict[str, Tensor], *, rtol: float = 1e-4, atol: float = 2e-6) -> None:
        names = [str(name) for name in self.arrays["grad_names"]]
        norms = torch.stack([gradients[name].norm() for name in names])
        self.assert_close(norms, "grad_norms", rtol=rtol, atol=atol)
        assert set(gradients) == set(names)
        self.assert_close(norms.norm(), "total_grad_norm", rtol=rtol, atol=atol)


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    """Gradients by parameter name, of those parameters that have one."""
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
