"""LPIPS (Zhang et al. 2018, version 0.1) over AlexNet, without torchvision.

AlexNet's weights are a file of torchvision's; the linear heads come with torchmetrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from mien.errors import WeightsError
from mien.media.files import file_digest

# of the linear heads, version 0.1: the lpips package has the same file
HEADS_SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
_CHANNELS = (64, 192, 384, 256, 256)
_MEAN, _SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures in [-1, 1]
_BATCH = 8
Network = TypeVar("Network", bound=nn.Module)


class Lpips(nn.Module):
    """Distance [n] of pictures [n, 3, h, w] in [-1, 1]: 0 for equal ones, larger the less alike they look."""

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        # numbered as in torchvision's AlexNet, so that its file fits
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )
        self.heads = nn.ModuleList(nn.Conv2d(channels, 1, 1, bias=False) for channels in _CHANNELS)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor(_SPREAD)[:, None, None], persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Equation 1 of the paper: weighted squared differences of unit feature vectors, averaged over places."""
        distance = torch.zeros(len(first), device=first.device)
        one, two = (first - self.mean) / self.spread, (second - self.mean) / self.spread
        heads = iter(self.heads)
        for layer in self.features:
            one, two = layer(one), layer(two)
            if isinstance(layer, nn.ReLU):
                apart = (_unit(one) - _unit(two)) ** 2  # [n, c, h, w]
                distance = distance + next(heads)(apart).mean((1, 2, 3))
        return distance

    @torch.no_grad()
    def distances(self, first: Tensor, second: Tensor) -> list[float]:
        """Distances of pictures [n, 3, h, w] in [0, 1], a few at a time."""
        found: list[float] = []
        for start in range(0, len(first), _BATCH):
            pair = (picture[start : start + _BATCH] * 2 - 1 for picture in (first, second))
            found += self(*pair).tolist()
        return found


def _unit(features: Tensor) -> Tensor:
    return features / (1e-8 + (features**2).sum(1, keepdim=True)).sqrt()


def load_lpips(alexnet: Path) -> Lpips:
    """LPIPS with torchvision's AlexNet file. Raises WeightsError if it does not fit."""
    import torchmetrics

    heads = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "alex.pth"
    if file_digest(heads) != HEADS_SHA256:
        raise WeightsError(f"{heads} is not version 0.1 of LPIPS' heads: install another version of torchmetrics")
    stored = {**read_tensors(alexnet), **read_tensors(heads)}
    tensors = {key: value for key, value in stored.items() if key.startswith("features.")}
    tensors |= {f"heads.{i}.weight": stored[f"lin{i}.model.1.weight"] for i in range(len(_CHANNELS))}
    return filled(Lpips(), tensors, alexnet, "torchvision's AlexNet")


def filled(network: Network, tensors: Mapping[str, Tensor], path: Path, what: str) -> Network:
    """A network with the tensors of a file, every one of them and no others, ready to measure.

    Raises WeightsError, which says that `path` is not `what`, if they do not fit.
    """
    try:  # a plain dict: files of old versions of torch lack batch norm's counters, which torch then adds
        network.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{path} is not {what}: fetch it with mien evaluate weights") from error
    return network.eval().requires_grad_(False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a PyTorch file, which is not allowed to run code. Raises WeightsError."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise a dozen kinds for unusable files
        raise WeightsError(f"{path} cannot be read as tensors ({type(error).__name__}): fetch it again") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no named tensors: fetch it again")
    return content
