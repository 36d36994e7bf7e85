"""The motion trainer's generator (DeX-Portrait, Section 3.1 and supplement Figure S1): how both encoders are learned.

A source picture becomes a volume, the volume is moved by the two poses, and a decoder that knows the driver's
expression makes the driver's picture of it. Inference needs the encoders only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.models.dex_portrait.appearance_volume import AppearanceVolume
from mien.models.dex_portrait.config import DeXPortraitConfig
from mien.models.dex_portrait.flatten import Flatten, StyleCode
from mien.models.dex_portrait.pose import Pose, backward_matrix, sampling_grid, warp
from mien.models.dex_portrait.style_decoder import StyleDecoder


class MotionGenerator(nn.Module):
    """Source pictures [r, 3, s, s], poses of both and expression codes [b, e] to pictures [b, 3, s, s]; r divides b."""

    def __init__(self, config: DeXPortraitConfig) -> None:
        super().__init__()
        motion = config.motion
        self.appearance = AppearanceVolume(motion)
        self.flatten = Flatten(motion)
        self.style = StyleCode(motion)
        flat = motion.volume_channels * motion.volume_depth
        self.decoder = StyleDecoder(motion, flat, motion.appearance + config.expression.code)

    def forward(self, source: Tensor, source_pose: Pose, driving_pose: Pose, expression: Tensor) -> Tensor:
        """The driver's pictures, made of the source's.

        Args:
            source: pictures [r, 3, s, s] in [-1, 1]; r divides b, and each serves b / r consecutive results.
            source_pose: r poses.
            driving_pose: b poses.
            expression: the driver's codes [b, e].

        Returns:
            [b, 3, s, s], about [-1, 1].
        """
        times = len(expression) // len(source)
        volume = self.appearance(source)  # [r, c, d, h, w]
        matrix = backward_matrix(source_pose.repeat(times), driving_pose)
        warped = warp(volume, sampling_grid(matrix, tuple(volume.shape[-3:])))
        style = self.style(volume).repeat_interleave(times, 0)
        features = self.flatten(volume.repeat_interleave(times, 0), warped)
        result: Tensor = self.decoder(features, torch.cat([style, expression.to(style.dtype)], 1))
        return result
