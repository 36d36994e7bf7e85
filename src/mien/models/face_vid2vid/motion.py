"""Head motion of Face Vid2Vid, and where keypoints are.

Space is [-1, 1]^3 in the order x, y, z: x to the picture's right, y down, z into the scene; endpoints are the centres
of the outermost cells (`align_corners=True` everywhere).

Angles are those of `mien.geometry.pose`, degrees, in the order yaw, pitch, roll: R = Ry(-yaw) Rx(pitch) Rz(-roll) in
these axes. Of the usual unofficial code, R = Rx(pitch) Ry(yaw) Rz(roll), this differs in the order and in the signs of
yaw and roll; ours are those that the avatars' exact poses are given in, so that a label needs no conversion.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from mien.models.face_vid2vid.config import BIN_DEGREES, BINS, FIRST_BIN
from mien.models.face_vid2vid.layers import single_precision


@dataclass(frozen=True)
class Motion:
    """How heads move, single precision.

    Attributes:
        angles: yaw, pitch, roll [b, 3], degrees.
        translation: [b, 3], half sides.
        expression: how keypoints deviate [b, K, 3], in the picture's axes.
    """

    angles: Tensor
    translation: Tensor
    expression: Tensor

    def matrix(self) -> Tensor:
        """Rotations [b, 3, 3]."""
        return rotation_matrices(self.angles)

    def keypoints(self, canonical: Tensor) -> Tensor:
        """x = R x_c + t + delta (Section 3.1, Equation 1).

        Args:
            canonical: keypoints x_c [b, K, 3].

        Returns:
            [b, K, 3].
        """
        with single_precision(canonical):
            turned = canonical.float() @ self.matrix().transpose(1, 2)
        return turned + self.translation[:, None] + self.expression

    def turned(self, angles: Tensor) -> Motion:
        """The same with other angles; the expression turns with the head, R' R^-1 delta.

        Args:
            angles: yaw, pitch, roll [b, 3], degrees.
        """
        with single_precision(angles):
            turn = rotation_matrices(angles) @ self.matrix().transpose(1, 2)
            return Motion(angles, self.translation, self.expression @ turn.transpose(1, 2))

    def repeat(self, count: int) -> Motion:
        """Every motion `count` times in a row."""
        return Motion(*(getattr(self, f.name).repeat_interleave(count, 0) for f in fields(self)))

    def __getitem__(self, rows: slice) -> Motion:
        return Motion(*(getattr(self, f.name)[rows] for f in fields(self)))

    def __len__(self) -> int:
        return len(self.angles)

    @classmethod
    def join(cls, parts: list[Motion]) -> Motion:
        """One after the other."""
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))


def rotation_matrices(angles: Tensor) -> Tensor:
    """Rotations by angles; as `mien.geometry.HeadPose.from_euler`.

    Args:
        angles: yaw, pitch, roll [b, 3], degrees.

    Returns:
        [b, 3, 3].
    """
    cos, sin = torch.cos(torch.deg2rad(angles.float())), torch.sin(torch.deg2rad(angles.float()))
    (cy, cp, cr), (sy, sp, sr) = cos.unbind(1), sin.unbind(1)
    zero, one = torch.zeros_like(cy), torch.ones_like(cy)
    yaw = torch.stack([cy, zero, -sy, zero, one, zero, sy, zero, cy], 1).view(-1, 3, 3)
    pitch = torch.stack([one, zero, zero, zero, cp, -sp, zero, sp, cp], 1).view(-1, 3, 3)
    roll = torch.stack([cr, sr, zero, -sr, cr, zero, zero, zero, one], 1).view(-1, 3, 3)
    with single_precision(angles):
        return yaw @ pitch @ roll


def decode_angle(logits: Tensor) -> Tensor:
    """The expected angle of bins: 3 E[i] - 99, degrees.

    Args:
        logits: [b, ..., 66].

    Returns:
        [b, ...].
    """
    index = torch.arange(BINS, device=logits.device, dtype=torch.float32)
    return BIN_DEGREES * (functional.softmax(logits.float(), -1) * index).sum(-1) + FIRST_BIN


def cells(depth: int, height: int, width: int, like: Tensor) -> Tensor:
    """Where a volume's cells are, single precision.

    Args:
        depth: of the volume, cells.
        height: of the volume, cells.
        width: of the volume, cells.
        like: on whose device.

    Returns:
        [depth, height, width, 3] (x, y, z) in [-1, 1].
    """
    z, y, x = (torch.linspace(-1, 1, count, device=like.device) for count in (depth, height, width))
    grid = torch.meshgrid(z, y, x, indexing="ij")
    return torch.stack([grid[2], grid[1], grid[0]], -1)
