"""Perceptual distances: VGG's features, or where its weights cannot be had those of a pyramid, told by name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import WeightsError

logger = logging.getLogger(__name__)


class Perceptual(Protocol):
    """A perceptual distance; `name` goes into the record of a run, for not all are LPIPS."""

    name: str

    def features(self, pictures: Tensor) -> list[Tensor]:
        """What pictures are compared by.

        Args:
            pictures: [b, 3, h, w] in [-1, 1].

        Returns:
            Features [b, c, h, w], fine to coarse.
        """


class PyramidPerceptual(nn.Module):
    """Without any weights: local contrasts at four scales, in place of LPIPS where VGG cannot be had.

    At every scale a bank of eight 3x3 cosine patterns, without the constant one, is divided by the local contrast, so
    that what counts is the form of an edge and not its strength. Not LPIPS, and never reported as it.
    """

    name = "pyramid"
    bank: Tensor

    def __init__(self, scales: int = 4) -> None:
        super().__init__()
        self.scales = scales
        place = (torch.arange(3) + 0.5) * torch.pi / 3
        waves = torch.stack([torch.cos(place * k) for k in range(3)])
        waves = waves / waves.norm(dim=1, keepdim=True)
        bank = torch.einsum("ax,by->abxy", waves, waves).flatten(0, 1)[1:]
        self.register_buffer("bank", bank[:, None].repeat(3, 1, 1, 1), persistent=False)  # [24, 1, 3, 3]

    def features(self, pictures: Tensor) -> list[Tensor]:
        """See `Perceptual.features`."""
        found, x = [], pictures.float()
        for scale in range(self.scales):
            if scale:
                x = functional.avg_pool2d(x, 2)
            answers = functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), self.bank, groups=3)
            power = answers.square().mean(1, keepdim=True)
            contrast = functional.avg_pool2d(functional.pad(power, (2, 2, 2, 2), mode="replicate"), 5, 1)
            found.append(answers / (contrast + 1e-2).sqrt())
        return found


class VGGPerceptual(nn.Module):
    """VGG16's features after each of its five groups, normalised over the channels, as LPIPS takes them.

    weights: a .safetensors file with torchvision's names of VGG16 (`features.0.weight` ...). LPIPS's learned channel
    weights are not used: the supplement sums squared feature distances (Eq. 2).
    """

    name = "vgg16"
    mean: Tensor
    deviation: Tensor

    _GROUPS: tuple[tuple[int, ...], ...] = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.groups = nn.ModuleList()
        names, before, place = [], 3, 0
        for widths in self._GROUPS:
            layers: list[nn.Module] = []
            for width in widths:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                names.append(f"features.{place}")
                before, place = width, place + 2
            self.groups.append(nn.Sequential(*layers))
            place += 1  # the pooling
        convs = [layer for layer in self.groups.modules() if isinstance(layer, nn.Conv2d)]
        given = _read(weights)
        for name, conv in zip(names, convs, strict=True):
            for part in ("weight", "bias"):
                tensor, wanted = given.get(f"{name}.{part}"), getattr(conv, part)
                if tensor is None or tensor.shape != wanted.shape:
                    raise WeightsError(f"{weights} is no VGG16: {name}.{part} is missing or has another shape.")
                wanted.data.copy_(tensor)
        self.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """See `Perceptual.features`."""
        x, found = ((pictures.float() + 1) / 2 - self.mean) / self.deviation, []
        for index, group in enumerate(self.groups):
            x = group(functional.max_pool2d(x, 2) if index else x)
            found.append(x / (x.square().sum(1, keepdim=True) + 1e-10).sqrt())
        return found


class VGG19Perceptual(VGGPerceptual):
    """VGG19's features after the first convolution of each of its five groups (relu1_1 ... relu5_1), as they are.

    weights: a .safetensors file with torchvision's names of VGG19.
    """

    name = "vgg19"
    _GROUPS = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """See `Perceptual.features`."""
        x, found = ((pictures.float() + 1) / 2 - self.mean) / self.deviation, []
        for index, group in enumerate(self.groups):
            first, rest = group[:2], group[2:]  # type: ignore[index]
            found.append(first(functional.max_pool2d(x, 2) if index else x))
            if index < len(self.groups) - 1:
                x = rest(found[-1])
        return found


def choose_perceptual(weights: str | None) -> Perceptual:
    """VGG19's or VGG16's features from a file; without one the pyramid. The log names which.

    Args:
        weights: a safetensors file of torchvision's names; None: the pyramid.

    Returns:
        What pictures are compared by.

    Raises:
        WeightsError: the file cannot be read, or does not fit.
    """
    if weights is None:
        logger.warning("no VGG weights were given: the perceptual losses are those of the pyramid, not LPIPS")
        return PyramidPerceptual()
    try:
        with safe_open(weights, "pt") as file:
            deeper = "features.34.weight" in file.keys()  # noqa: SIM118 - not a dictionary
    except (SafetensorError, OSError) as error:
        why = type(error).__name__
        raise WeightsError(f"{weights} cannot be read as safetensors ({why}): name another.") from error
    chosen = VGG19Perceptual(Path(weights)) if deeper else VGGPerceptual(Path(weights))
    logger.info("the perceptual losses are those of %s", chosen.name)
    return chosen


def on_device(perceptual: Perceptual, like: Tensor) -> Perceptual:
    """The same on a tensor's device.

    Args:
        perceptual: moved in place.
        like: a tensor that is there.

    Returns:
        The same object.
    """
    if isinstance(perceptual, nn.Module):
        perceptual.to(like.device)
    return perceptual


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({type(error).__name__}): name another.") from error
