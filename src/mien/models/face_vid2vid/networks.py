"""Face Vid2Vid as one model: a portrait is encoded once, then asked for its picture in any motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from mien.models.face_vid2vid.appearance import Appearance
from mien.models.face_vid2vid.config import FaceVid2VidConfig
from mien.models.face_vid2vid.generator import Generator
from mien.models.face_vid2vid.head_pose import HeadPoseEstimator
from mien.models.face_vid2vid.keypoints import KeypointDetector
from mien.models.face_vid2vid.layers import single_precision
from mien.models.face_vid2vid.motion import Motion
from mien.models.face_vid2vid.motion_field import Flow, MotionField


@dataclass(frozen=True)
class Portrait:
    """What is known of sources.

    Attributes:
        volume: [b, c, d, h, w].
        canonical: keypoints [b, K, 3].
        motion: their own.
    """

    volume: Tensor
    canonical: Tensor
    motion: Motion

    def repeat(self, count: int) -> Portrait:
        """Every source `count` times in a row."""
        if count == 1:
            return self
        volume, canonical = (part.repeat_interleave(count, 0) for part in (self.volume, self.canonical))
        return Portrait(volume, canonical, self.motion.repeat(count))


@dataclass(frozen=True)
class Rendered:
    """What `FaceVid2Vid.render` gives.

    Attributes:
        picture: [b, 3, s, s] in [-1, 1].
        flow: behind it.
    """

    picture: Tensor
    flow: Flow


class FaceVid2Vid(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Appearance, keypoints, head pose, motion field, generator. Configuration: the fields of `FaceVid2VidConfig`."""

    @register_to_config
    def __init__(
        self,
        image_size: int = 256,
        volume_channels: int = 32,
        depth: int = 16,
        appearance_channels: Sequence[int] = (64, 128, 256),
        volume_blocks: int = 6,
        keypoint_count: int = 15,
        detector_channels: Sequence[int] = (64, 128, 256, 512, 1024),
        detector_scale: float = 0.25,
        pose_stem: int = 64,
        pose_channels: Sequence[int] = (256, 512, 1024, 2048),
        pose_blocks: Sequence[int] = (3, 3, 5, 2),
        motion_channels: Sequence[int] = (64, 128, 256, 512, 1024),
        squeezed: int = 4,
        mask_kernel: int = 7,
        motion_stride: int = 1,
        decoder: str = "spade",
        entry_channels: int = 256,
        decoder_channels: Sequence[int] = (512, 256, 64),
        decoder_blocks: int = 6,
        spade_hidden: int = 128,
        discriminator_channels: Sequence[int] = (64, 128, 256, 512),
    ) -> None:
        super().__init__()
        given: dict[str, Any] = {}
        for name in (field.name for field in fields(FaceVid2VidConfig)):
            value = self.config[name]
            given[name] = tuple(value) if isinstance(value, list | tuple) else value
        sizes = FaceVid2VidConfig(**given)
        self.sizes = sizes
        self.appearance = Appearance(sizes)
        self.keypoint_detector = KeypointDetector(sizes)
        self.head_pose = HeadPoseEstimator(sizes)
        self.motion_field = MotionField(sizes)
        self.generator = Generator(sizes)

    @classmethod
    def of(cls, config: FaceVid2VidConfig) -> FaceVid2Vid:
        """Fresh networks of a configuration."""
        return cls(**asdict(config))

    def encode(self, source: Tensor) -> Portrait:
        """All that is needed of sources, once.

        Args:
            source: [b, 3, s, s] in [-1, 1].
        """
        return Portrait(self.appearance(source), self.keypoint_detector(source), self.head_pose(source))

    def motion(self, driving: Tensor) -> Motion:
        """The motions that pictures show.

        Args:
            driving: [b, 3, s, s] in [-1, 1].
        """
        found: Motion = self.head_pose(driving)
        return found

    def render(self, portrait: Portrait, keypoints: Tensor, rotation: Tensor) -> Rendered:
        """Portraits with their keypoints moved and their heads turned.

        Args:
            portrait: b sources.
            keypoints: [b, K, 3] in [-1, 1].
            rotation: of the driven heads [b, 3, 3].
        """
        own = portrait.motion
        with single_precision(rotation):
            turn = own.matrix() @ rotation.transpose(1, 2)
        flow = self.motion_field(portrait.volume, own.keypoints(portrait.canonical), keypoints, turn)
        return Rendered(self.generator(portrait.volume, flow), flow)

    def forward(self, portrait: Portrait, motion: Motion) -> Rendered:
        """Absolute motion: x_d = R_d x_c + t_d + delta_d, with the canonical keypoints of the source (Equation 1).

        Args:
            portrait: b sources.
            motion: of b driving pictures.
        """
        return self.render(portrait, motion.keypoints(portrait.canonical), motion.matrix())
