"""Losses of DeX-Portrait's motion trainer (supplement, Eq. 1 to 5) and the pose's anchor."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.models.dex_portrait.pose import rotation_matrices, rotation_vectors
from mien.training.perceptual import Perceptual

_TEMPERATURE = 0.15  # of `contrast`


def perceptual_distances(perceptual: Perceptual, made: Tensor, wanted: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Squared feature distances, averaged over each full map and summed over the layers.

    Means over the full map, not over the mask, are what make the paper's weight of 100 sane.

    Args:
        perceptual: gives the features.
        made: pictures [b, 3, h, w] in [-1, 1].
        wanted: the same of the ground truth.
        mask: of the face [b, 1, h, w] in [0, 1], resized by area to each layer (Eq. 3).

    Returns:
        The distance of whole pictures, and that within the face.
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
    """Softplus(-D(fake)), Eq. 4.

    Args:
        fake: verdicts D on what was made [b].

    Returns:
        The mean.
    """
    return functional.softplus(-fake).mean()


def discriminator_adversarial(real: Tensor, fake: Tensor) -> Tensor:
    """The logistic loss of StyleGAN2.

    Args:
        real: verdicts on ground truth [b].
        fake: on what was made [b].

    Returns:
        softplus(fake) + softplus(-real), the means.
    """
    return functional.softplus(fake).mean() + functional.softplus(-real).mean()


def gradient_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """R1: the mean squared gradient of D at real pictures (Mescheder et al. 2018).

    Args:
        discriminator: D.
        real: pictures [b, 3, h, w] in [-1, 1].

    Returns:
        A number that has a gradient itself.
    """
    seen = real.detach().float().requires_grad_(True)
    with torch.autocast(seen.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(discriminator(seen).sum(), seen, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def anchor_distance(codes: Tensor, ground_truth: Tensor) -> Tensor:
    """|r - r*| + |t - t*| + |log s - log s*|, L1, averaged over the batch.

    The warp alone leaves the canonical pose open, and lets it drift with identity; the avatars' exact poses fix it.

    Args:
        codes: pose codes [b, 6]: radians, image units, logarithm.
        ground_truth: the exact ones.

    Returns:
        A number.
    """
    return (codes - ground_truth).abs().sum(1).mean()


def pose_errors(codes: Tensor, ground_truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How far poses are from the exact ones.

    Args:
        codes: pose codes [b, 6].
        ground_truth: the exact ones.

    Returns:
        Geodesic angle in degrees, |t - t*| in image units and |log s - log s*|, [b] each.
    """
    turn = rotation_matrices(codes[:, :3]).transpose(1, 2) @ rotation_matrices(ground_truth[:, :3])
    return (
        rotation_vectors(turn).norm(dim=1).rad2deg(),
        (codes[:, 3:5] - ground_truth[:, 3:5]).norm(dim=1),
        (codes[:, 5] - ground_truth[:, 5]).abs(),
    )


def contrast(one: Tensor, two: Tensor) -> Tensor:
    """How well the codes of two views find each other among all others (InfoNCE, van den Oord et al. 2018).

    Args:
        one: codes [n, e].
        two: of other views of the same expressions, in the same order.

    Returns:
        The mean cross entropy of both directions; log n where all codes are one.
    """
    likeness = functional.normalize(one, dim=1) @ functional.normalize(two, dim=1).T / _TEMPERATURE
    own = torch.arange(len(one), device=one.device)
    return (functional.cross_entropy(likeness, own) + functional.cross_entropy(likeness.T, own)) / 2
