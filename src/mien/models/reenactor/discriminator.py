"""Tells rendered patches from the reenactor's: of training only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_SLOPE = 0.2
_DETAIL = 5.0  # fine detail is shown apart and stronger: that is what the reenactor's pictures lack


class Discriminator(nn.Module):
    """A patch discriminator (Isola et al., CVPR 2017, 3.2.2) without normalisation.

    Spectral normalisation was tried and learned too slowly for runs of some thousand steps.
    """

    def __init__(self, channels: tuple[int, ...] = (32, 64, 96)) -> None:
        super().__init__()
        widths = (6, *channels)
        layers = [nn.Conv2d(before, after, 4, 2, 1) for before, after in zip(widths, channels, strict=False)]
        self.read = nn.Conv2d(channels[-1], 1, 3, padding=1)
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, a=_SLOPE)
        self.layers = nn.ModuleList(layers)

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Whether each patch looks rendered.

        Args:
            pictures: [b, 3, h, w] in [-1, 1].

        Returns:
            Logits [b, 1, h / 8, w / 8], above 0 where a patch looks true, and the features of each layer.
        """
        detail = pictures - functional.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
        features, x = [], torch.cat([pictures, _DETAIL * detail], 1)
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), _SLOPE)
            features.append(x)
        return self.read(x), features


def hinge(true: Tensor, false: Tensor, weight: Tensor) -> Tensor:
    """The discriminator's loss, E max(0, 1 - D(x)) + E max(0, 1 + D(G)).

    Args:
        true: logits D(x) [b, 1, h, w] of ground truth.
        false: logits D(G) [b, 1, h, w] of what was generated.
        weight: of patches [b, 1, h, w], mean 1.
    """
    return ((functional.relu(1 - true.float()) + functional.relu(1 + false.float())) * weight).mean()


def feature_distance(got: list[Tensor], want: list[Tensor]) -> Tensor:
    """Mean L1 between features of two pictures, layer by layer.

    Args:
        got: features of what was generated, one tensor a layer.
        want: features of the ground truth; they have no gradient.
    """
    return torch.stack([(a - b.detach()).abs().float().mean() for a, b in zip(got, want, strict=True)]).mean()
