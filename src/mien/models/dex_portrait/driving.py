"""What drives a portrait: codes of a clip, and the arithmetic that carries them over to another head."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mien.models.dex_portrait.pose import Pose, rotation_matrices, rotation_vectors
from mien.motion.jitter import without_jitter
from mien.motion.motion_limits import MotionLimits

# What the encoders' filter takes for jitter at most, measured as in `mien.motion.jitter`: of pose codes (radians, half
# sides, natural logarithm) and of nano's expression codes; with larger codes the filter does less.
_POSE_JITTER = np.array([*3 * [math.radians(0.25)], 0.002, 0.002, 0.003])
_EXPRESSION_JITTER = 0.015


@dataclass(frozen=True)
class Motion:
    """Codes of f frames, float32 on the CPU.

    Attributes:
        pose: pose codes [f, 6], see `mien.models.dex_portrait.pose`.
        expression: expression codes [f, e].
        reference: the frame from which relative motion is measured.
    """

    pose: Tensor
    expression: Tensor
    reference: int = 0

    def __post_init__(self) -> None:
        if len(self.pose) != len(self.expression) or not len(self.pose):
            raise ValueError(f"{len(self.pose)} poses and {len(self.expression)} expressions make no motion")
        if not 0 <= self.reference < len(self.pose):
            raise ValueError(f"frame {self.reference} is none of the motion's {len(self.pose)}")

    def __len__(self) -> int:
        return len(self.pose)


@dataclass(frozen=True)
class Gains:
    """How motion is carried over.

    Attributes:
        pose: 0: the portrait's own, 1: as it is, above 1: exaggerated.
        expression: the same for the expression.
        relative: only what the driving head does from its reference frame on is carried over, starting from the
            portrait's own pose; else the portrait's head goes where the driving head is.
    """

    pose: float = 1.0
    expression: float = 1.0
    relative: bool = False


def smooth_motion(motion: Motion, pose: float = 1.2, expression: float = 0.7) -> Motion:
    """The same motion, its codes filtered over time against the encoders' jitter, without delay; the ends are held.

    The filter changes a code by no more than jitter does (`mien.motion.jitter`), so that fast motion stays.

    Args:
        motion: codes of a clip.
        pose: deviation of the pose codes' Gaussian, frames.
        expression: deviation of the expression codes' Gaussian, frames.
    """
    poses, expressions = (codes.double().numpy() for codes in (motion.pose, motion.expression))
    held = without_jitter(poses, pose, _POSE_JITTER)
    even = without_jitter(expressions, expression, _EXPRESSION_JITTER)
    return replace(motion, pose=torch.from_numpy(held).float(), expression=torch.from_numpy(even).float())


def drive_pose(source: Pose, driving: Pose, reference: Pose, gains: Gains) -> Pose:
    """Poses of the portrait's head, driven.

    Relative driving turns the head about itself: R_i R_0^T R_s, s_s s_i / s_0, and t_s plus the way the driving head
    went, in head sizes. Where both heads are in the same place this is P_i P_0^-1 P_s; elsewhere that product would
    swing the portrait's head about the place of the driver's.

    Args:
        source: the portrait's pose, one.
        driving: the driver's poses, one a frame.
        reference: the driver's pose at its reference frame, one.
        gains: how much, and whether relative.

    Returns:
        One pose a frame.
    """
    if gains.relative:
        turn = driving.rotation @ reference.rotation.transpose(1, 2)
        zoom = (driving.scale / reference.scale).log()
        way = (driving.translation - reference.translation) * (source.scale / reference.scale)[:, None]
    else:
        turn = driving.rotation @ source.rotation.transpose(1, 2)
        zoom = (driving.scale / source.scale).log()
        way = driving.translation - source.translation
        if gains.pose == 1:
            return driving
    if gains.pose != 1:
        turn = rotation_matrices(gains.pose * rotation_vectors(turn))
    return Pose(turn @ source.rotation, source.translation + gains.pose * way, source.scale * (gains.pose * zoom).exp())


def limited_pose(source: Pose, driven: Pose, limits: MotionLimits) -> Pose:
    """Poses whose place and size are softly held near the portrait's; rotations are left as they are.

    A small model fills in what a head that moves away uncovers only so far.

    Args:
        source: the portrait's pose, one.
        driven: poses, one a frame.
        limits: of place and size.
    """
    way, grown = driven.translation - source.translation, (driven.scale / source.scale).log()
    low, high = torch.as_tensor(2 * limits.ways(), dtype=way.dtype, device=way.device)  # half sides
    shift, zoom = torch.where(way < 0, low, high), limits.zoom
    held = source.translation + shift * (way / shift).tanh()
    return Pose(driven.rotation, held, source.scale * (zoom * (grown / zoom).tanh()).exp())


def limited_motion(source: Pose, motion: Motion, limits: MotionLimits) -> Motion:
    """A driver's motion as near as the limits allow to where the portrait's head is.

    The head goes towards the driver's turn in its reference frame as far as may be, and does from there on what the
    driving head does; place and size count from that frame.

    Args:
        source: the portrait's pose, one.
        motion: the driver's codes.
        limits: of turn, place and size.
    """
    driving, reference = (Pose.from_code(codes) for codes in (motion.pose, motion.pose[motion.reference][None]))
    way = rotation_vectors(reference.rotation @ source.rotation.transpose(1, 2))  # [1, 3]
    angle = way.norm(dim=1, keepdim=True).clamp_min(1e-6)
    turn = way if math.isinf(limits.turn) else way / angle * limits.turn * (angle / limits.turn).tanh()
    turned = Pose(rotation_matrices(turn) @ source.rotation, source.translation, source.scale)
    held = limited_pose(source, drive_pose(turned, driving, reference, Gains(relative=True)), limits)
    return replace(motion, pose=held.code())


def drive_expression(source: Tensor, driving: Tensor, gain: float) -> Tensor:
    """Expression codes from the portrait's own (gain 0) through the driver's (gain 1) and beyond.

    Expressions are never relative: a latent has no neutral from which differences could be measured.

    Args:
        source: the portrait's code [1, e].
        driving: the driver's codes [f, e].
        gain: how much of the way.

    Returns:
        [f, e].
    """
    return driving if gain == 1 else torch.lerp(source.expand_as(driving), driving, gain)


def nearest_pose(source: Pose, driving: Pose) -> int:
    """Which of the driver's poses is turned most like the portrait's.

    Args:
        source: the portrait's pose, one.
        driving: f poses.
    """
    turn = driving.rotation @ source.rotation.transpose(1, 2)
    return int(turn.diagonal(dim1=1, dim2=2).sum(1).argmax())
