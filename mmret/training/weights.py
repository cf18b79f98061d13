"""The tensors of a run by name: parameters, buffers, optimiser state and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmret.errors import TrainingError


def stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers, each once, under the first of its names."""
    persistent = module.state_dict(keep_vars=True).keys()
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: tensor.detach() for name, tensor in named.items() if name in persistent}


def load_stored_tensors(module: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Copy saved tensors into a module, refusing another set of names or shapes."""
    own = stored_tensors(module)
    wrong = own.keys() ^ saved.keys() or {name for name in own if own[name].shape != saved[name].shape}
    if wrong:
        raise TrainingError(
            f"the checkpoint belongs to another model: {sorted(wrong)[0]} and {len(wrong) - 1} more differ; "
            "train in another output_dir"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])


def batch_norm_statistics(module: nn.Module) -> list[Tensor]:
    """Buffers that a forward pass changes."""
    layers = (layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._NormBase))
    return [buffer for layer in layers for buffer in layer.buffers(recurse=False)]


class WeightAverage:
    """Exponential moving average of the trained parameters; frozen ones and buffers are taken as they are."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Start from the module's present weights."""
        self._decay = decay
        self._trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
        self.tensors = {name: tensor.clone() for name, tensor in stored_tensors(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move towards the module's present weights."""
        for name, tensor in stored_tensors(module).items():
            if name in self._trained:
                self.tensors[name].lerp_(tensor, 1.0 - self._decay)
            else:
                self.tensors[name].copy_(tensor)

    def load(self, saved: Mapping[str, Tensor]) -> None:
        """Continue from a checkpoint's average."""
        for name, tensor in self.tensors.items():
            tensor.copy_(saved[name])


def default_parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices and kernels decay; biases, norms and scalars do not."""
    trained = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    decays = [parameter for name, parameter in trained if parameter.ndim >= 2 and not name.endswith(".bias")]
    rest = [parameter for name, parameter in trained if parameter.ndim < 2 or name.endswith(".bias")]
    groups = [{"params": decays, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def optimiser_tensors(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of the optimiser as PARAMETER/STATE -> tensor."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    return {
        f"{names[parameter]}/{key}": torch.as_tensor(value)
        for parameter, state in optimiser.state.items()
        for key, value in state.items()
    }


def load_optimiser_tensors(module: nn.Module, optimiser: torch.optim.Optimizer, saved: Mapping[str, Tensor]) -> None:
    """Put saved optimiser state back, on the device and in the type of its parameter."""
    parameters = dict(module.named_parameters())
    for key, tensor in saved.items():
        name, _, field = key.rpartition("/")
        parameter = parameters[name]
        # the step counter lives where the optimiser made it: beside the parameter when fused
        optimiser.state[parameter][field] = tensor.to(parameter.device)
