"""What DeX-Portrait's encoders are worth on rendered heads they never saw: the figures that the project promises.

Pose: against the exact one. Expression: how alike its codes are under an in-plane turn and under another yaw, next to
how alike those of different expressions are, for a code that never changes would be perfectly alike. Leak: how far the
pose moves when nothing but the expression does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mien.models.dex_portrait.expression_encoder import ExpressionEncoder
from mien.models.dex_portrait.pose import codes_of_head_poses
from mien.models.dex_portrait.pose_encoder import PoseEncoder
from mien.motion.inputs import face_crop, masked_frame
from mien.pipelines.pictures import to_pixels
from mien.training.data.samples import FaceFrame
from mien.training.dex_portrait.losses import pose_errors


@dataclass(frozen=True)
class Variation:
    """One person three times: as they are; with the same expression turned in yaw; in the same pose with another
    expression."""

    base: FaceFrame
    turned: FaceFrame
    mimic: FaceFrame


@dataclass(frozen=True)
class EncoderScores:
    """Means over the variations. degrees, place (image units), zoom (|log s|): pose error. turned_in_plane,
    turned_away: cosine of expression codes; different: of different people and expressions. leak: degrees by which the
    pose moves with the expression."""

    degrees: float
    place: float
    zoom: float
    turned_in_plane: float
    turned_away: float
    different: float
    leak: float


@torch.no_grad()
def score_encoders(
    pose_encoder: PoseEncoder,
    expression_encoder: ExpressionEncoder,
    variations: Sequence[Variation],
    degrees: float = 30.0,
) -> EncoderScores:
    """Scores over variations; degrees: of the in-plane turn, either way."""
    base = [variation.base for variation in variations]
    pose = _poses(pose_encoder, base)
    ground_truth = torch.from_numpy(codes_of_head_poses(np.stack([frame.head_pose() for frame in base])))
    turn, place, zoom = (error.mean().item() for error in pose_errors(pose, ground_truth))
    mimic = _poses(pose_encoder, [variation.mimic for variation in variations])
    plain = _expressions(expression_encoder, base)
    rolled = [_expressions(expression_encoder, base, angle) for angle in (-degrees, degrees)]
    away = _expressions(expression_encoder, [variation.turned for variation in variations])
    return EncoderScores(
        turn,
        place,
        zoom,
        float(np.mean([_likeness(plain, codes) for codes in rolled])),
        _likeness(plain, away),
        _likeness(plain, plain.roll(1, 0)),
        pose_errors(mimic, pose)[0].mean().item(),
    )


def _likeness(a: Tensor, b: Tensor) -> float:
    return float(torch.cosine_similarity(a, b).mean())


def _poses(network: PoseEncoder, frames: Sequence[FaceFrame]) -> Tensor:
    size = int(network.config.size)
    shown = [masked_frame(frame.picture, frame.landmarks) for frame in frames]
    device = next(network.parameters()).device
    return torch.cat([network(part.to(device)).cpu() for part in to_pixels(shown, size).split(16)])


def _expressions(network: ExpressionEncoder, frames: Sequence[FaceFrame], degrees: float = 0.0) -> Tensor:
    size = int(network.config.size)
    crops = [face_crop(frame.picture, frame.landmarks, size, degrees) for frame in frames]
    device = next(network.parameters()).device
    return torch.cat([network(part.to(device)).cpu() for part in to_pixels(crops, size).split(16)])
