"""Losses of DeX-Portrait's motion trainer (supplement, Eq. 1 to 5) and the pose's anchor."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import WeightsError
from mien.models.dex_portrait.pose import rotation_matrices, rotation_vectors


class Perceptual(Protocol):
    """A perceptual distance; `name` goes into the record of a run, for not all are LPIPS."""

    name: str

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Features [b, c, h, w] of pictures in [-1, 1], fine to coarse."""


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


def perceptual_distances(perceptual: Perceptual, made: Tensor, wanted: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Squared feature distances, averaged over each full map and summed over the layers: whole, and within the face.

    mask: [b, 1, h, w], resized by area to each layer (Eq. 3). Means over the full map, not over the mask, are what make
    the paper's weight of 100 sane.
    """
    whole = inside = made.new_zeros(())
    with torch.no_grad():
        targets = perceptual.features(wanted)
    for got, target in zip(perceptual.features(made), targets, strict=True):
        difference = (got - target).square()
        small = functional.interpolate(mask, got.shape[-2:], mode="area")
        whole = whole + difference.mean()
        inside = inside + (difference * small.square()).mean()
    return whole, inside


def generator_adversarial(fake: Tensor) -> Tensor:
    """Softplus(-D(fake)), Eq. 4."""
    return functional.softplus(-fake).mean()


def discriminator_adversarial(real: Tensor, fake: Tensor) -> Tensor:
    """The logistic loss of StyleGAN2."""
    return functional.softplus(fake).mean() + functional.softplus(-real).mean()


def gradient_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """R1: the mean squared gradient of D at real pictures (Mescheder et al. 2018)."""
    seen = real.detach().float().requires_grad_(True)
    with torch.autocast(seen.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(discriminator(seen).sum(), seen, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def anchor_distance(codes: Tensor, truth: Tensor) -> Tensor:
    """|r - r*| + |t - t*| + |log s - log s*|, L1, radians and image units, averaged over the rows.

    The warp alone leaves the canonical pose open, and lets it drift with identity; the avatars' exact poses fix it.
    """
    return (codes - truth).abs().sum(1).mean()


def pose_errors(codes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Geodesic angle in degrees, |t - t*| in image units and |log s - log s*|, a number a row."""
    turn = rotation_matrices(codes[:, :3]).transpose(1, 2) @ rotation_matrices(truth[:, :3])
    return (
        rotation_vectors(turn).norm(dim=1).rad2deg(),
        (codes[:, 3:5] - truth[:, 3:5]).norm(dim=1),
        (codes[:, 5] - truth[:, 5]).abs(),
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({type(error).__name__}): name another.") from error
