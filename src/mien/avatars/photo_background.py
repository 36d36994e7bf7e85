"""What a photograph shows around the face: hair, neck, shoulders, background, bent along with the head.

A grid over the photo with depth from the head. Near the head its nodes turn with it, further away they stay, so that
the shoulders and the frame stand still.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars import kernels
from mien.avatars.camera import Floats, Placement, project, unproject
from mien.avatars.detector import BROW_TOP, CHIN, Face
from mien.avatars.head_model import FACE, HEAD, HeadModel
from mien.avatars.renderer import Fragments, Mesh, look_at, rasterize
from mien.geometry.smooth import smooth_step

_NODES = 97  # a side of the grid
_COARSE = 128  # pixels a side of the maps from which the grid is made
_DRAWN = 160  # pixels a side at which the bent grid is drawn, before it is scaled up
_REACH = 0.13  # of the photo's side: how far from the head the photo follows it
_JAW_BOTTOM = -8.6  # cm: what lies lower on the model is neck


@dataclass(frozen=True, eq=False)
class PhotoBackground:
    """The grid of a photo; k nodes.

    Attributes:
        photo: uint8 [s, s, 3].
        still: nodes in the camera [k, 3], cm.
        head: the same in the head's axes.
        follow: how far a node turns with the head [k].
        triples: vertices between which the point of the head lies that an expression moves a node with [k, 3].
        shares: of these three [k, 3].
        mesh: over the nodes.
    """

    photo: NDArray[np.uint8]
    still: Floats
    head: Floats
    follow: Floats
    triples: NDArray[np.int32]
    shares: Floats
    mesh: Mesh

    def draw(self, placement: Placement, moved: Floats, size: int) -> NDArray[np.uint8]:
        """The photo with the head somewhere else.

        Args:
            placement: of the head.
            moved: what the expression changed [v, 3], cm.
            size: side of the result, pixels.

        Returns:
            uint8 [size, size, 3].
        """
        offsets = np.empty_like(self.head)
        kernels.mix_gathered(moved, self.triples, self.shares, offsets)
        offsets = cv2.GaussianBlur(offsets.reshape(_NODES, _NODES, 3), (0, 0), 1.5).reshape(-1, 3)
        turned = placement.apply(self.head + offsets)
        follow = self.follow[:, None]
        points = (follow * turned + (1 - follow) * self.still).astype(np.float32)
        seen = rasterize(self.mesh, project(points, _DRAWN), 1 / points[:, 2], _DRAWN, cull=False)
        source = self._source(seen)
        large = cv2.resize(source, (size, size), interpolation=cv2.INTER_LINEAR) * self.photo.shape[0] - 0.5
        return cv2.remap(self.photo, large, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def _source(self, seen: Fragments) -> Floats:
        """Where in the photo, in parts of its side, each drawn pixel [160, 160, 2] comes from."""
        # Affine, not perspective: the grid carries a picture, and depth that differs a little must not swim.
        flat = Fragments(seen.mesh, seen.owner, seen.nearest, seen.weights, np.ones_like(seen.inverse_depth))
        line = np.linspace(0, 1, _NODES)
        nodes = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
        centre = (np.arange(_DRAWN) + 0.5) / _DRAWN
        own = np.stack(np.meshgrid(centre, centre), -1)
        return np.where(seen.covered[..., None], flat.of_vertices(nodes), own).astype(np.float32)


def cut_background(
    model: HeadModel, placement: Placement, posed: Floats, photo: NDArray[np.uint8], face: Face
) -> PhotoBackground:
    """The grid of a photo.

    Args:
        model: of the head.
        placement: of the head in the photo.
        posed: its vertices [v, 3], cm in the model's axes.
        photo: uint8 [s, s, 3].
        face: as read in the photo.
    """
    from scipy.ndimage import distance_transform_edt

    points = placement.apply(posed)
    seen = look_at(Mesh.of(model), points, _COARSE)
    height = seen.of_vertices(model.neutral[:, 1:2])[..., 0]
    away, nearest = distance_transform_edt(~seen.covered, return_indices=True)
    depth = _depth(seen, away, nearest, float(placement.apply(np.array([[0, 0, -1.0]]))[0, 2]))
    follow = _follow(seen.covered & (height > _JAW_BOTTOM), face.points / photo.shape[0])
    line = np.linspace(0, _COARSE, _NODES).astype(np.float32)
    x, y = np.meshgrid(line - 0.5, line - 0.5)
    at_nodes = {"interpolation": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    node_follow = cv2.remap(follow, x, y, **at_nodes).ravel()
    node_depth = cv2.remap(depth, x, y, **at_nodes).ravel()
    nodes = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    still = unproject(nodes, node_depth, _COARSE).astype(np.float32)
    column, row = np.clip(nodes.astype(int), 0, _COARSE - 1).T
    under = (nearest[0][row, column], nearest[1][row, column])
    triangle, weights = seen.owner[under], seen.weights[under]
    attached = np.exp(-((away[row, column] / _COARSE / 0.05) ** 2)) * np.sqrt(np.maximum(node_follow, 0))
    attached *= np.isin(seen.mesh.part[triangle], [FACE, HEAD])
    shares = np.column_stack([1 - weights.sum(1), weights]) * attached[:, None]
    return PhotoBackground(
        photo=np.ascontiguousarray(photo),
        still=still,
        head=placement.unapply(still),
        follow=node_follow,
        triples=np.ascontiguousarray(seen.mesh.triangles[triangle]),
        shares=np.ascontiguousarray(shares, np.float32),
        mesh=_grid_mesh(),
    )


def _depth(seen: Fragments, away: NDArray, nearest: NDArray, rest: float) -> Floats:
    """[128, 128] cm: the head's own, carried on past its outline, then that of the middle of the head."""
    known = 1 / np.maximum(seen.nearest, 1e-6)
    near = np.exp(-((away / 10) ** 2))
    depth = (known[nearest[0], nearest[1]] * near + rest * (1 - near)).astype(np.float32)
    depth = np.where(seen.covered, depth, cv2.GaussianBlur(depth, (0, 0), 3))
    return cv2.GaussianBlur(depth, (0, 0), 1.2)


def _follow(head: NDArray[np.bool_], points: NDArray[np.floating]) -> Floats:
    """[128, 128] in [0, 1]: 1 on the head, falling with the distance, below the chin and towards the frame."""
    from scipy.ndimage import distance_transform_edt

    follow = np.exp(-((distance_transform_edt(~head) / _COARSE / _REACH) ** 2))
    y, x = np.mgrid[0:_COARSE, 0:_COARSE] / _COARSE
    chin, length = points[CHIN, 1], points[CHIN, 1] - points[BROW_TOP, 1]
    follow *= 1 - smooth_step((y - chin) / (0.55 * length))
    follow *= smooth_step(np.minimum.reduce([x, 1 - x, y, 1 - y]) / 0.12)
    return cv2.GaussianBlur(follow.astype(np.float32), (0, 0), 2.0)


def _grid_mesh() -> Mesh:
    number = np.arange(_NODES * _NODES).reshape(_NODES, _NODES)
    a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]))
    index = np.concatenate([np.column_stack([a, c, b]), np.column_stack([b, c, d])]).astype(np.int32)
    return Mesh(index, index, np.zeros(len(index), np.uint8))
