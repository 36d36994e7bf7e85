"""What DeX-Portrait's encoders read off pictures, each kind of encoder shown what it knows (Section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import ModelMixin
from numpy.typing import NDArray
from torch import Tensor

from mien.models.dex_portrait.expression_encoder import ExpressionEncoder
from mien.models.dex_portrait.face_encoders import FaceExpressionEncoder, FacePoseEncoder
from mien.models.dex_portrait.pose import Pose
from mien.models.dex_portrait.pose_encoder import PoseEncoder
from mien.motion.inputs import TurnedCrop, face_crop, masked_frame
from mien.pipelines.pictures import to_pixels

Pixels = NDArray[np.uint8]
Points = NDArray[np.floating]


def read_poses(
    encoder: PoseEncoder | FacePoseEncoder, pictures: Sequence[Pixels], landmarks: Sequence[Points]
) -> Tensor:
    """Head poses of square pictures.

    Args:
        encoder: which reads them.
        pictures: uint8 [s, s, 3].
        landmarks: of each [68, 2], pixels.

    Returns:
        Pose codes [b, 6] in the pictures, on the CPU.
    """
    size = int(encoder.config.size)
    if isinstance(encoder, PoseEncoder):
        masked = [masked_frame(picture, points) for picture, points in zip(pictures, landmarks, strict=True)]
        return _codes(encoder, masked)
    crops = [TurnedCrop.upright(points) for points in landmarks]
    shown = [
        masked_frame(crop.extract(picture, size), crop.points_in(points, size))
        for crop, picture, points in zip(crops, pictures, landmarks, strict=True)
    ]
    codes = _codes(encoder, shown)
    where = np.stack([crop.similarity(len(picture)) for crop, picture in zip(crops, pictures, strict=True)])
    return Pose.from_code(codes).placed(torch.from_numpy(where)).code()


def read_expressions(
    encoder: ExpressionEncoder | FaceExpressionEncoder, pictures: Sequence[Pixels], landmarks: Sequence[Points]
) -> Tensor:
    """Expressions of square pictures.

    Args:
        encoder: which reads them.
        pictures: uint8 [s, s, 3].
        landmarks: of each [68, 2], pixels.

    Returns:
        Expression codes [b, e], on the CPU.
    """
    size = int(encoder.config.size)
    pairs = zip(pictures, landmarks, strict=True)
    if isinstance(encoder, ExpressionEncoder):
        crops = [face_crop(picture, points, size) for picture, points in pairs]
    else:
        crops = [TurnedCrop.upright(points).extract(picture, size) for picture, points in pairs]
    return _codes(encoder, crops)


def _codes(encoder: ModelMixin, shown: Sequence[Pixels]) -> Tensor:
    """What an encoder says of pictures of any size, on the CPU."""
    codes: Tensor = encoder(to_pixels(shown, encoder.config.size).to(next(encoder.parameters()).device)).cpu()
    return codes
