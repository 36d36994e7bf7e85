"""The reenactor: a portrait and its keypoints, driven keypoints in; the portrait in the driven motion out.

It follows the scheme of Face Vid2Vid (Wang, Mallya, Liu, CVPR 2021): appearance features, keypoints, a motion field
with an occlusion map, a generator. What is smaller: features are flat, and the keypoints are the 68 landmarks that a
face reader gives, so that motion need not be discovered: with free keypoints
little training gives a driver that is not read at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from mien.models.reenactor.appearance import Appearance
from mien.models.reenactor.config import BLENDSHAPES, KEYPOINTS, ReenactorConfig
from mien.models.reenactor.flow import places
from mien.models.reenactor.generator import Generator
from mien.models.reenactor.motion_field import Motion, MotionField
from mien.motion.keypoint_motion import FaceBasis

Features = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Rendered:
    """What the reenactor makes.

    Attributes:
        picture: [b, 3, h, w] in [-1, 1].
        moved: the source merely moved, the same shape.
        motion: at a quarter of the picture.
    """

    picture: Tensor
    moved: Tensor
    motion: Motion


class Reenactor(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Appearance, motion field, generator; and the linear basis of `mien.motion.keypoint_motion` as buffers.

    Configuration: the fields of `ReenactorConfig`.
    """

    mean: Tensor  # [70, 3]
    shapes: Tensor  # [52, 70, 3]

    @register_to_config
    def __init__(
        self,
        image_size: int = 256,
        appearance_channels: Sequence[int] = (16, 40, 80),
        motion_channels: Sequence[int] = (32, 48, 64),
        generator_channels: Sequence[int] = (20, 40, 80, 128),
        blocks: int = 2,
        squeezed: int = 8,
        maps: int = 16,
        spread: float = 0.04,
        residual: float = 0.1,
    ) -> None:
        super().__init__()
        widths = (tuple(appearance_channels), tuple(motion_channels), tuple(generator_channels))
        sizes = ReenactorConfig(image_size, *widths, blocks, squeezed, maps, spread, residual)
        self.appearance = Appearance(sizes)
        self.motion_field = MotionField(sizes)
        self.generator = Generator(sizes)
        self.register_buffer("mean", torch.zeros(KEYPOINTS, 3))
        self.register_buffer("shapes", torch.zeros(BLENDSHAPES, KEYPOINTS, 3))

    @classmethod
    def of(cls, config: ReenactorConfig) -> Reenactor:
        """Fresh networks of a configuration."""
        return cls(**asdict(config))

    def basis(self) -> FaceBasis:
        """How landmarks move with blendshapes."""
        return FaceBasis(*(part.detach().double().cpu().numpy() for part in (self.mean, self.shapes)))

    def forward(
        self,
        source: Tensor,
        features: Features,
        landmarks: Tensor,
        driven: Tensor,
        corners: Tensor | None = None,
        window: int | None = None,
    ) -> Rendered:
        """The source in the driven motion.

        The rows of everything belong together; a row of source and features may serve several of the rest.

        Args:
            source: [b, 3, s, s] in [-1, 1].
            features: its `appearance` features.
            landmarks: its keypoints [b, 70, 2], half sides, see `flow`.
            driven: the driven keypoints [b, 70, 2].
            corners: [b, 2] (x, y, multiples of 4), pixels, of the window of the driven picture that is wanted; None:
                all of it.
            window: its side, pixels.
        """
        side = source.shape[-1]
        window = window or side
        grid = places((window // 4, window // 4), (-1, -1), (2 * window / side, 2 * window / side), landmarks)[None]
        if corners is not None:
            grid = grid + corners[:, None, None] * (2 / side)  # [b, h, w, 2]
        motion = self.motion_field(features[2], landmarks, driven, grid)
        picture, moved = self.generator(source, features, motion, landmarks, driven)
        return Rendered(picture, moved, motion)
