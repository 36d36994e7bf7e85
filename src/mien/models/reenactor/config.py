"""Sizes of the reenactor."""

from __future__ import annotations

from dataclasses import dataclass

KEYPOINTS = 70  # landmarks and pupils, see `mien.motion.keypoint_motion`
BLENDSHAPES = 52  # of an expression, see `mien.faces.EXPRESSION_NAMES`


@dataclass(frozen=True)
class ReenactorConfig:
    """Sizes.

    Attributes:
        image_size: side of the square, pixels.
        appearance_channels: of the source's features at 1, 1/2 and 1/4.
        motion_channels: of the motion field's hourglass at 1/4, 1/8 and 1/16.
        generator_channels: at 1, 1/2, 1/4 and 1/8.
        blocks: residual blocks at 1/8.
        squeezed: channels of the features that the motion field compares.
        maps: channels that the keypoints' maps are mixed to.
        spread: deviation of a keypoint's map, half sides of the picture.
        residual: the largest correction of the flow, half sides.
    """

    image_size: int = 256
    appearance_channels: tuple[int, ...] = (16, 40, 80)
    motion_channels: tuple[int, ...] = (32, 48, 64)
    generator_channels: tuple[int, ...] = (20, 40, 80, 128)
    blocks: int = 2
    squeezed: int = 8
    maps: int = 16
    spread: float = 0.04
    residual: float = 0.1
