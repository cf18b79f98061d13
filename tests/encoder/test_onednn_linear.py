"""oneDNN's linear layers: the same numbers, and only where nothing else is asked of the layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmret.encoder import onednn_linear
from mmret.encoder.onednn_linear import use_onednn


@pytest.fixture
def products(monkeypatch):
    """Shapes of what went to oneDNN."""
    shapes, multiply = [], onednn_linear._product
    monkeypatch.setattr(onednn_linear, "_product", lambda x, *rest: shapes.append(tuple(x.shape)) or multiply(x, *rest))
    onednn_linear._works.cache_clear()
    yield shapes
    onednn_linear._works.cache_clear()


@pytest.fixture
def layers(products):
    """A plain layer and one of the same weights that has oneDNN's product."""
    torch.manual_seed(0)
    plain = nn.Linear(96, 64)
    fast = nn.Linear(96, 64)
    fast.load_state_dict(plain.state_dict())
    use_onednn(nn.Sequential(fast))
    if type(fast) is nn.Linear:
        pytest.skip("this torch has no linear operator of oneDNN")
    products.clear()
    return plain, fast


@pytest.mark.parametrize("x", [torch.randn(40, 96), torch.randn(2, 5, 96), torch.randn(3, 96, 20).transpose(1, 2)])
def test_products_are_the_same_whatever_the_strides(layers, products, x):
    plain, fast = layers
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), plain(x), atol=1e-5, rtol=1e-5)
    assert products == [tuple(x.shape)]


def test_gradients_few_rows_other_numbers_and_autocast_stay_with_torch(layers, products):
    fast = layers[1]
    x = torch.randn(16, 96)
    fast(x).sum().backward()
    assert fast.weight.grad is not None
    with torch.no_grad():
        fast(x[:4])
        with torch.autocast("cpu", torch.bfloat16):
            assert fast(x).dtype == torch.bfloat16
        fast.double()(x.double())
    assert products == []


def test_a_torch_without_the_operator_keeps_its_own(monkeypatch):
    def missing(*_):
        raise AttributeError("no operator of this name")

    monkeypatch.setattr(onednn_linear, "_product", missing)
    onednn_linear._works.cache_clear()
    layer = nn.Linear(4, 4)
    use_onednn(nn.Sequential(layer))
    onednn_linear._works.cache_clear()
    assert type(layer) is nn.Linear


def test_layers_that_are_more_than_linear_are_left_alone(products):
    attention = nn.MultiheadAttention(8, 2)  # reads the weights of its projection and never calls it
    kind = type(attention.out_proj)
    use_onednn(attention)
    assert type(attention.out_proj) is kind
