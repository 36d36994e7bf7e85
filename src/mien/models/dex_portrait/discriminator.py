"""StyleGAN2's residual discriminator (Karras et al. 2020), trained beside the motion trainer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_GROUP = 4


class _Block(nn.Module):
    """Two convolutions and a halving, beside a halved 1x1 skip."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.second = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.leaky_relu(self.first(x), 0.2)
        y = functional.leaky_relu(self.second(functional.avg_pool2d(y, 2)), 0.2)
        return (y + self.skip(functional.avg_pool2d(x, 2))) / math.sqrt(2)


class Discriminator(nn.Module):
    """[b, 3, s, s] in [-1, 1] to logits [b]: above 0, a photograph. `channels`: of s, s / 2, ... down to 4 pixels."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels[0], 1)
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in zip(channels, channels[1:], strict=False)))
        self.conv = nn.Conv2d(channels[-1] + 1, channels[-1], 3, padding=1)
        self.dense = nn.Linear(channels[-1] * 16, channels[-1])
        self.head = nn.Linear(channels[-1], 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """How much pictures look like photographs.

        Args:
            pictures: [b, 3, s, s] in [-1, 1].

        Returns:
            Logits [b].
        """
        x = self.blocks(functional.leaky_relu(self.stem(pictures), 0.2))
        x = functional.leaky_relu(self.conv(torch.cat([x, _spread(x)], 1)), 0.2)
        result: Tensor = self.head(functional.leaky_relu(self.dense(x.flatten(1)), 0.2))[:, 0]
        return result


def _spread(x: Tensor) -> Tensor:
    """How different the pictures of a group are, one number, as a map [b, 1, h, w]."""
    group = next(g for g in range(min(_GROUP, len(x)), 0, -1) if len(x) % g == 0)
    parts = x.float().unflatten(0, (group, -1))  # [g, b / g, c, h, w]
    deviation = ((parts - parts.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3))  # [b / g]
    return deviation.repeat(group).to(x.dtype)[:, None, None, None].expand(-1, 1, *x.shape[-2:])
