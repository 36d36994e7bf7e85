"""Losses of Face Vid2Vid (Wang, Mallya, Liu 2021, Section 3.2), and those of the patches that X-Portrait's 𝓕 Plus adds.

Weights are the paper's: perceptual 10, adversarial 1, equivariance 20, keypoint prior 10, head pose 20, deformation 5;
feature matching is 10 a layer in the usual code. What the paper leaves open is chosen here:

- Head pose: L1 in degrees against the exact pose of the data, not against another network's reading; the mean over the
  three angles, of source and target.
- Deformation prior: the mean of |delta| over all numbers. The sum, as some have it, freezes faces.
- Keypoint prior: without the pairs of a keypoint with itself, which add a constant.
- Without VGG's weights `PyramidPerceptual` takes its place, told by name; it sees form and no colour, so L1 over four
  scales of the picture stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mien.models.face_vid2vid import Motion
from mien.models.face_vid2vid.motion import cells
from mien.training.perceptual import Perceptual, VGGPerceptual

_SCALES = 4  # 1, 1/2, 1/4, 1/8
_APART = 0.1  # D_t: squared distance that keypoints are to keep
_DEPTH = 0.33  # z_t: their mean depth
_AFFINE, _BENT = 0.05, 0.005  # deviations of the random transformation
_POINTS = 5  # of its thin plate, each way


@dataclass(frozen=True)
class FaceVid2VidWeights:
    """Weights of the losses.

    Attributes:
        perceptual, adversarial, matching, equivariance, prior, pose, deformation: see this module's head.
        pixel: only where the perceptual distance is not VGG's.
        adversarial_from: the step from which the discriminator counts.
        local_l1, local_perceptual: on the patches of eyes and mouth (𝓕 Plus).
    """

    perceptual: float = 10.0
    pixel: float = 20.0
    adversarial: float = 1.0
    matching: float = 10.0
    adversarial_from: int = 0
    equivariance: float = 20.0
    prior: float = 10.0
    pose: float = 20.0
    deformation: float = 5.0
    local_l1: float = 0.0
    local_perceptual: float = 0.0


def perceptual_l1(perceptual: Perceptual, made: Tensor, wanted: Tensor) -> Tensor:
    """L1 of features, summed over the layers.

    Features of VGG are compared at 1, 1/2, 1/4 and 1/8 of the size; the pyramid has its own scales.

    Args:
        perceptual: gives the features.
        made: [b, 3, h, w] in [-1, 1].
        wanted: the same.

    Returns:
        A number.
    """
    loss = made.new_zeros((), dtype=torch.float32)
    for scale in range(_SCALES if isinstance(perceptual, VGGPerceptual) else 1):
        if scale:
            made, wanted = functional.avg_pool2d(made, 2), functional.avg_pool2d(wanted, 2)
        with torch.no_grad():
            targets = perceptual.features(wanted)
        for got, target in zip(perceptual.features(made), targets, strict=True):
            loss = loss + (got - target).abs().mean()
    return loss


def pixel_l1(made: Tensor, wanted: Tensor) -> Tensor:
    """L1 of pictures at 1, 1/2, 1/4 and 1/8 of the size, summed.

    Args:
        made: [b, 3, h, w] in [-1, 1].
        wanted: the same.

    Returns:
        A number.
    """
    error = made.float() - wanted.float()
    loss = error.abs().mean()
    for _ in range(_SCALES - 1):
        error = functional.avg_pool2d(error, 2)
        loss = loss + error.abs().mean()
    return loss


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss.

    Args:
        real: its scores of real pictures.
        fake: its scores of made ones.

    Returns:
        A number.
    """
    return functional.relu(1 - real.float()).mean() + functional.relu(1 + fake.float()).mean()


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """L1 of the discriminator's features, summed over the layers.

    Args:
        fake: of made pictures, by layer.
        real: of real ones.

    Returns:
        A number.
    """
    return torch.stack([(f.float() - r.float()).abs().mean() for f, r in zip(fake, real, strict=True)]).sum()


@dataclass(frozen=True)
class Deformation:
    """A map of the plane for each row: affine [b, 2, 3], then a thin plate with weights [b, 25, 2] at a 5 x 5 lattice.

    T(d) is the picture d read at T(x); so what T(d) shows at x is in d at T(x).
    """

    affine: Tensor
    weights: Tensor

    @classmethod
    def draw(
        cls, batch_size: int, generator: torch.Generator, device: torch.device, strength: float = 1.0
    ) -> Deformation:
        """I + N(0, 0.05), N(0, 0.005); drawn on the CPU.

        Args:
            batch_size: how many.
            generator: draws them.
            device: where they are wanted.
            strength: times both deviations.

        Returns:
            The deformations.
        """
        affine = torch.eye(2, 3) + strength * _AFFINE * torch.randn(batch_size, 2, 3, generator=generator)
        weights = strength * _BENT * torch.randn(batch_size, _POINTS**2, 2, generator=generator)
        return cls(affine.to(device), weights.to(device))

    def points(self, points: Tensor) -> Tensor:
        """Where points of the deformed picture are in the picture itself.

        Args:
            points: [b, n, 2] in [-1, 1].

        Returns:
            [b, n, 2].
        """
        moved = (points[:, :, None] * self.affine[:, None, :, :2]).sum(-1) + self.affine[:, None, :, 2]
        lattice = cells(1, _POINTS, _POINTS, points)[..., :2].reshape(1, 1, -1, 2)
        squared = (points[:, :, None] - lattice).square().sum(-1)  # [b, n, 25]
        plate = 0.5 * squared * torch.log(squared + 1e-6)  # r^2 log r
        return moved + (plate[..., None] * self.weights[:, None]).sum(2)

    def picture(self, pictures: Tensor) -> Tensor:
        """Pictures deformed.

        Args:
            pictures: [b, 3, s, s].

        Returns:
            [b, 3, s, s].
        """
        height, width = pictures.shape[2:]
        grid = cells(1, height, width, pictures)[..., :2].reshape(1, -1, 2)
        places = self.points(grid.expand(len(pictures), -1, -1)).view(-1, height, width, 2)
        return functional.grid_sample(pictures.float(), places, padding_mode="reflection", align_corners=True)


def equivariance(keypoints: Tensor, again: Tensor, deformation: Deformation) -> Tensor:
    """L1 between keypoints of pictures and those of their deformed copies, taken back; in x and y.

    Args:
        keypoints: of the pictures [b, K, 3].
        again: of the copies [b, K, 3].
        deformation: that made the copies.

    Returns:
        A number.
    """
    return (keypoints[..., :2] - deformation.points(again[..., :2])).abs().mean()


def keypoint_prior(keypoints: Tensor) -> Tensor:
    """Keypoints keep apart, and lie at a mean depth of 0.33: sum over ordered pairs, mean over the batch.

    Args:
        keypoints: [b, K, 3].

    Returns:
        A number.
    """
    squared = (keypoints[:, :, None] - keypoints[:, None]).square().sum(-1)
    close = functional.relu(_APART - squared).sum((1, 2)) - _APART * keypoints.shape[1]
    return (close + (keypoints[..., 2].mean(1) - _DEPTH).abs()).mean()


def head_pose_distance(angles: Tensor, ground_truth: Tensor) -> Tensor:
    """Mean L1 of angles.

    Args:
        angles: [b, 3], degrees.
        ground_truth: the same.

    Returns:
        Degrees.
    """
    return (angles.float() - ground_truth.float()).abs().mean()


def deformation_prior(motion: Motion) -> Tensor:
    """How far expressions move keypoints.

    Args:
        motion: as the network reads it.

    Returns:
        Mean |delta|.
    """
    return motion.expression.abs().mean()


def cut_patches(pictures: Tensor, corners: Tensor, side: int) -> Tensor:
    """Squares of pictures.

    Args:
        pictures: [n, 3, h, w].
        corners: upper left ones (x, y) [n, p, 2], pixels.
        side: of the squares, pixels.

    Returns:
        [n p, 3, side, side].
    """
    run = torch.arange(side, device=pictures.device)
    x, y = corners[..., 0, None] + run, corners[..., 1, None] + run  # [n, p, side]
    row = torch.arange(len(pictures), device=pictures.device)[:, None, None, None]
    cut = pictures.permute(0, 2, 3, 1)[row, y[..., :, None], x[..., None, :]]  # [n, p, side, side, 3]
    return cut.flatten(0, 1).permute(0, 3, 1, 2)


def local_losses(perceptual: Perceptual, made: Tensor, wanted: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """L1 and perceptual L1 on the patches of eyes and mouth, F Plus; patches a quarter of the side wide.

    For the perceptual part patches are shown twice as large, so that deep layers keep some extent.

    Args:
        perceptual: gives the features.
        made: [n, 3, s, s] in [-1, 1].
        wanted: the same.
        corners: of the target's patches, for both pictures [n, p, 2], pixels.

    Returns:
        Both losses.
    """
    side = made.shape[-1] // 4
    got, target = cut_patches(made, corners, side), cut_patches(wanted, corners, side)
    large = [functional.interpolate(part.float(), scale_factor=2.0, mode="bilinear") for part in (got, target)]
    return (got.float() - target.float()).abs().mean(), perceptual_l1(perceptual, *large)
