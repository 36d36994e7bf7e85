"""The quick group norm is torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mien.training.engine.group_norm import quicken


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_value_and_gradients_are_those_of_torch(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    exact, quick = nn.GroupNorm(4, 16), nn.GroupNorm(4, 16)
    nn.init.normal_(exact.weight)
    nn.init.normal_(exact.bias)
    quick.load_state_dict(exact.state_dict())
    quicken(quick)
    x, wanted = (torch.randn(3, 16, 12, 12) + 0.4).to(memory_format=layout), torch.randn(3, 16, 12, 12)
    one, other = x.clone().requires_grad_(), x.bfloat16().requires_grad_()
    first = exact(one)
    (first * wanted).sum().backward()
    second = quick(other)
    (second.float() * wanted).sum().backward()
    assert second.dtype == torch.bfloat16 and quick(x).dtype == torch.float32
    assert (first - second.float()).abs().mean() < 0.02
    for mine, theirs in (
        (other.grad, one.grad),
        (quick.weight.grad, exact.weight.grad),
        (quick.bias.grad, exact.bias.grad),
    ):
        assert mine is not None and theirs is not None
        assert (mine.float() - theirs).norm() < 0.02 * theirs.norm()
