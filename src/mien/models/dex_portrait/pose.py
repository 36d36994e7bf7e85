"""The explicit head pose of DeX-Portrait (Section 3.1): P = [sR | t], six numbers, and the rigid warp it gives.

Coordinates are those of the picture's cube [-1, 1]^3: x right, y down, z into the scene. P takes the canonical head to
where it is seen; t has no z (depth is told by s). The six numbers of a *pose code* are a rotation vector in radians,
t_x, t_y and log s. Of two poses the motion from the source to the driving head is P_d P_s^-1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.geometry import HeadPose
from mien.geometry.pose import rotation_vector

# `HeadPose.scale` of the canonical head: with it a head that fills a portrait's square as usual has s = 1.
CANONICAL_SCALE = 0.4
WINDOW_SCALE = 0.8  # the same for heads in face windows
CODE = 6


@dataclass(frozen=True)
class Pose:
    """A batch of head poses P = [sR | t] (Section 3.1), float32.

    Attributes:
        rotation: [b, 3, 3].
        translation: [b, 2], half sides of the picture.
        scale: [b]; 1 for the canonical head.
    """

    rotation: Tensor
    translation: Tensor
    scale: Tensor

    @classmethod
    def from_code(cls, code: Tensor) -> Pose:
        """From pose codes; differentiable everywhere, and exactly the identity at zero.

        Args:
            code: [b, 6]: rotation vector in radians, t_x, t_y, log s.
        """
        code = code.float()
        return cls(rotation_matrices(code[:, :3]), code[:, 3:5], code[:, 5].exp())

    def head_pose(self, index: int = 0) -> HeadPose:
        """One of the poses as a `HeadPose`.

        Args:
            index: its number.

        Returns:
            Rotation vector in radians, translation in half sides, `HeadPose.scale`.
        """
        turn = rotation_vector(self.rotation[index].double().cpu().numpy())
        place = self.translation[index].double().cpu().numpy()
        return HeadPose(turn, place, float(self.scale[index]) * CANONICAL_SCALE)

    def code(self) -> Tensor:
        """Pose codes [b, 6]; rotations must be less than half a turn."""
        vectors = rotation_vectors(self.rotation)
        return torch.cat([vectors, self.translation, self.scale.log()[:, None]], dim=1)

    def matrix(self) -> Tensor:
        """P as [b, 4, 4], its last row (0, 0, 0, 1)."""
        return _homogeneous(self.rotation * self.scale[:, None, None], _with_depth(self.translation))

    def inverse_matrix(self) -> Tensor:
        """P^-1 as [b, 4, 4]: rotation R^T / s, translation -R^T t / s."""
        linear = self.rotation.transpose(1, 2) / self.scale[:, None, None]
        return _homogeneous(linear, -_apply(linear, _with_depth(self.translation)))

    def placed(self, crops: Tensor) -> Pose:
        """Poses of heads in upright crops, as those of the pictures from which they were cut.

        Args:
            crops: [b, 4], see `mien.motion.inputs.TurnedCrop.similarity`.

        Returns:
            As many poses.
        """
        angle, middle, half = crops[:, 0], crops[:, 1:3], crops[:, 3]
        turn = rotation_matrices(torch.stack([0 * angle, 0 * angle, angle], 1))
        way = torch.einsum("bij,bj->bi", turn[:, :2, :2], self.translation)
        return Pose(turn @ self.rotation, middle + half[:, None] * way, self.scale * half)

    def __getitem__(self, rows: Tensor | slice) -> Pose:
        return Pose(self.rotation[rows], self.translation[rows], self.scale[rows])

    def __len__(self) -> int:
        return len(self.scale)

    def to(self, device: torch.device | str) -> Pose:
        """The same poses on a device.

        Args:
            device: torch's, or its name.

        Returns:
            Copies there.
        """
        return Pose(self.rotation.to(device), self.translation.to(device), self.scale.to(device))

    def repeat(self, times: int) -> Pose:
        """Every pose several times in a row: [a, b] becomes [a, a, b, b].

        Args:
            times: how often.

        Returns:
            `times` as many poses.
        """
        parts = (self.rotation, self.translation, self.scale)
        return Pose(*(part.repeat_interleave(times, 0) for part in parts))

    @staticmethod
    def stack(poses: list[Pose]) -> Pose:
        """Several batches one after the other.

        Args:
            poses: the batches.

        Returns:
            One batch.
        """
        return Pose(
            torch.cat([pose.rotation for pose in poses]),
            torch.cat([pose.translation for pose in poses]),
            torch.cat([pose.scale for pose in poses]),
        )


def code_of_head_pose(head: HeadPose) -> np.ndarray:
    """The pose code of a head.

    Args:
        head: rotation vector in radians, translation in half sides, scale.

    Returns:
        float32 [6].
    """
    values = [*np.asarray(head.rotation), *np.asarray(head.translation), math.log(head.scale / CANONICAL_SCALE)]
    return np.array(values, np.float32)


def codes_of_head_poses(heads: np.ndarray) -> np.ndarray:
    """Pose codes of poses as the avatar data hold them.

    Args:
        heads: [n, 6]: rotation vector in radians, translation in half sides, `HeadPose.scale`.

    Returns:
        float32 [n, 6].
    """
    codes = np.array(heads, np.float32)
    codes[:, 5] = np.log(codes[:, 5] / CANONICAL_SCALE)
    return codes


def window_code(head: HeadPose) -> np.ndarray:
    """The pose code of a head in its face window.

    Args:
        head: as `FaceWindow.head` gives it.

    Returns:
        float32 [6].
    """
    values = [*np.asarray(head.rotation), *np.asarray(head.translation), math.log(head.scale / WINDOW_SCALE)]
    return np.array(values, np.float32)


def rotation_matrices(vectors: Tensor) -> Tensor:
    """Rodrigues' formula.

    Args:
        vectors: rotation vectors [b, 3], radians.

    Returns:
        [b, 3, 3].
    """
    angle = (vectors.square().sum(1) + 1e-12).sqrt()[:, None, None]
    zero = torch.zeros_like(vectors[:, 0])
    x, y, z = vectors.unbind(1)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).unflatten(1, (3, 3))
    square = torch.einsum("bij,bjk->bik", cross, cross)
    half = torch.sin(angle / 2) / (angle / 2)
    eye = torch.eye(3, device=vectors.device, dtype=vectors.dtype)
    return eye + torch.sin(angle) / angle * cross + 0.5 * half.square() * square


def rotation_vectors(rotation: Tensor) -> Tensor:
    """The inverse of `rotation_matrices`.

    Args:
        rotation: [b, 3, 3], which turn by less than half a turn.

    Returns:
        Rotation vectors [b, 3], radians.
    """
    skew = torch.stack(
        [
            rotation[:, 2, 1] - rotation[:, 1, 2],
            rotation[:, 0, 2] - rotation[:, 2, 0],
            rotation[:, 1, 0] - rotation[:, 0, 1],
        ],
        dim=1,
    )
    sine = skew.square().sum(1).clamp_min(1e-24).sqrt() / 2  # the root of 0 has no finite gradient
    cosine = (rotation.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    angle = torch.atan2(sine, cosine)
    # near zero the angle over its sine is 1
    factor = torch.where(sine > 1e-6, angle / sine.clamp(min=1e-6), torch.ones_like(sine))
    return skew / 2 * factor[:, None]


def backward_matrix(source: Pose, driving: Pose) -> Tensor:
    """P_s P_d^-1: where in the source's space an output place of the driving space is read.

    Written as I + (P_s - P_d) P_d^-1, which is exactly the identity where both poses are the same numbers, and whose
    gradient does not vanish there.

    Args:
        source: b poses P_s.
        driving: b poses P_d.

    Returns:
        [b, 3, 4].
    """
    difference = source.matrix() - driving.matrix()
    # sums of products rather than a matrix product, which autocast would run in half precision
    moved = (difference[:, :, :, None] * driving.inverse_matrix()[:, None, :, :]).sum(2)
    return (torch.eye(4, device=moved.device) + moved)[:, :3]


def sampling_grid(matrix: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Places that a matrix makes of the voxels' centres of a volume.

    One convention everywhere: centres of cells (align_corners=False), all three axes from -1 to 1.

    Args:
        matrix: [b, 3, 4].
        size: depth, height and width of the volume, voxels.

    Returns:
        [b, depth, height, width, 3] (x, y, z).
    """
    depth, height, width = size
    z, y, x = (_centres(count, matrix.device) for count in (depth, height, width))
    m = matrix.float()[:, :, :, None, None, None]  # [b, 3, 4, 1, 1, 1]
    grid = m[:, :, 0] * x + m[:, :, 1] * y[:, None] + m[:, :, 2] * z[:, None, None] + m[:, :, 3]
    return grid.movedim(1, -1)


def warp(volume: Tensor, grid: Tensor) -> Tensor:
    """Read a volume at places, trilinear, zeros outside.

    With sides that are powers of two the identity gives the volume back bit for bit.

    Args:
        volume: [r, c, d, h, w]; r divides b, and each volume serves b / r consecutive places of the batch.
        grid: [b, d, h, w, 3] in [-1, 1], as `sampling_grid` gives.

    Returns:
        [b, c, d, h, w].
    """
    spread = volume.float().repeat_interleave(len(grid) // len(volume), 0)
    moved = functional.grid_sample(spread, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.to(volume.dtype)


def _centres(count: int, device: torch.device) -> Tensor:
    """Centres of `count` cells across [-1, 1]."""
    return (torch.arange(count, device=device, dtype=torch.float32) * 2 + 1) / count - 1


def _with_depth(translation: Tensor) -> Tensor:
    return functional.pad(translation, (0, 1))  # t_z = 0


def _apply(linear: Tensor, vectors: Tensor) -> Tensor:
    return (linear * vectors[:, None, :]).sum(2)


def _homogeneous(linear: Tensor, translation: Tensor) -> Tensor:
    top = torch.cat([linear, translation[:, :, None]], dim=2)
    last = torch.zeros_like(top[:, :1])
    last[:, :, 3] = 1
    return torch.cat([top, last], dim=1)
