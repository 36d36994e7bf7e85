"""Sizes of Face Vid2Vid: `FULL` as published, `NANO` for a laptop."""

from __future__ import annotations

from dataclasses import dataclass

BINS = 66  # of each angle
BIN_DEGREES = 3.0
FIRST_BIN = -99.0  # degrees; bin i stands for 3 i - 99


@dataclass(frozen=True)
class FaceVid2VidConfig:
    """Sizes; the defaults are the published ones (256 px).

    Attributes:
        image_size: side of the square, pixels; features and flow are at a quarter of it.
        volume_channels: of the source's features in space.
        depth: of the source's features in space.
        appearance_channels: at 1, 1/2 and 1/4.
        volume_blocks: 3-D residual blocks.
        keypoint_count: K.
        detector_channels: of the keypoint detector at 1/2, 1/4, ... of its picture.
        detector_scale: side of the keypoint detector's picture over the whole one's.
        pose_stem: channels of the head pose estimator's first convolution.
        pose_channels: of the head pose estimator's stages.
        pose_blocks: bottlenecks of a stage beside the one that halves.
        motion_channels: of the motion field's hourglass.
        squeezed: channels of the volume that the candidates are shown with.
        mask_kernel: side of the mask's kernel.
        motion_stride: how much coarser than the features the flow is estimated.
        decoder: "spade" or "original".
        entry_channels: after the warp.
        decoder_channels: at 1/4, 1/2 and 1.
        decoder_blocks: residual blocks at 1/4.
        spade_hidden: channels of SPADE's own convolutions.
        discriminator_channels: of each level.
    """

    image_size: int = 256
    volume_channels: int = 32
    depth: int = 16
    appearance_channels: tuple[int, ...] = (64, 128, 256)
    volume_blocks: int = 6
    keypoint_count: int = 15
    detector_channels: tuple[int, ...] = (64, 128, 256, 512, 1024)
    detector_scale: float = 0.25
    pose_stem: int = 64
    pose_channels: tuple[int, ...] = (256, 512, 1024, 2048)
    pose_blocks: tuple[int, ...] = (3, 3, 5, 2)
    motion_channels: tuple[int, ...] = (64, 128, 256, 512, 1024)
    squeezed: int = 4
    mask_kernel: int = 7
    motion_stride: int = 1
    decoder: str = "spade"
    entry_channels: int = 256
    decoder_channels: tuple[int, ...] = (512, 256, 64)
    decoder_blocks: int = 6
    spade_hidden: int = 128
    discriminator_channels: tuple[int, ...] = (64, 128, 256, 512)


FULL = FaceVid2VidConfig()

# The plain decoder, for SPADE's modulation at 128 and 256 px would cost more than all the rest; the flow at 32 px.
NANO = FaceVid2VidConfig(
    volume_channels=16,
    depth=8,
    appearance_channels=(16, 32, 64),
    volume_blocks=2,
    keypoint_count=10,
    detector_channels=(16, 32, 64, 96),
    pose_stem=16,
    pose_channels=(32, 64, 96, 128),
    pose_blocks=(1, 1, 1, 1),
    motion_channels=(32, 64, 96),
    squeezed=2,
    mask_kernel=3,
    motion_stride=2,
    decoder="original",
    entry_channels=64,
    decoder_channels=(64, 32, 16),
    decoder_blocks=3,
    discriminator_channels=(24, 48, 96, 128),
)
