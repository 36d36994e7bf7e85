"""Face Vid2Vid with every class of the real one and few weights."""

from __future__ import annotations

import dataclasses

from mien.models.face_vid2vid import FaceVid2VidConfig

TINY_F = FaceVid2VidConfig(
    image_size=32,
    volume_channels=4,
    depth=4,
    appearance_channels=(8, 8, 8),
    volume_blocks=1,
    keypoint_count=5,
    detector_channels=(8, 16),
    detector_scale=0.5,
    pose_stem=8,
    pose_channels=(8, 16),
    pose_blocks=(1, 1),
    motion_channels=(8, 16),
    squeezed=2,
    mask_kernel=3,
    entry_channels=8,
    decoder_channels=(8, 8, 4),
    decoder_blocks=1,
    spade_hidden=4,
    discriminator_channels=(4, 8),
)
PLAIN_F = dataclasses.replace(TINY_F, decoder="original", motion_stride=2)
