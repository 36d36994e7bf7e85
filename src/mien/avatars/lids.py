"""Closed lids: a patch of skin with a lash line for each eye, mixed into the texture as the eye closes.

A photograph shows open eyes, whose lids are a dark crease; stretched over a closed eye they read as an eyeball. Hence a
second texture around each eye, painted from the skin around.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import Doubles, Floats
from mien.avatars.detector import landmark_map
from mien.avatars.head_model import HeadModel
from mien.avatars.texture import face_texels
from mien.geometry.smooth import push_pull, smooth_step

# The upper and the lower lid's rim, corner to corner, the subject's left eye first.
_RIMS = (
    (
        np.array([362, 398, 384, 385, 386, 387, 388, 466, 263]),
        np.array([362, 382, 381, 380, 374, 373, 390, 249, 263]),
    ),
    (
        np.array([33, 246, 161, 160, 159, 158, 157, 173, 133]),
        np.array([33, 7, 163, 144, 145, 153, 154, 155, 133]),
    ),
)
_BROWS = (slice(22, 27), slice(17, 22))  # of the 68 landmarks
_BEGIN, _FULL = 0.30, 0.75  # blink coefficients between which the patch is mixed in


@dataclass(frozen=True, eq=False)
class Lid:
    """A patch of the texture that shows a lid.

    Attributes:
        left: its first column, texels.
        top: its first row, texels.
        open: [h, w, 3], 0 to 255.
        closed: [h, w, 3], 0 to 255.
        share: how much of the texture it covers [h, w, 1].
    """

    left: int
    top: int
    open: Floats
    closed: Floats
    share: Floats

    def write(self, texture: NDArray[np.uint8], blink: float) -> None:
        """Set the patch to a blink, in place.

        Args:
            texture: [., ., 3], changed.
            blink: coefficient in [0, 1].
        """
        height, width = self.share.shape[:2]
        mix = self.share * float(smooth_step(np.array((blink - _BEGIN) / (_FULL - _BEGIN))))
        patch = self.open * (1 - mix) + self.closed * mix
        texture[self.top : self.top + height, self.left : self.left + width] = patch + 0.5


def paint_lids(model: HeadModel, texture: Floats) -> tuple[Lid, Lid]:
    """The lids of a face's texture [side, side, 3], left first."""
    return _paint_lid(model, texture, 0), _paint_lid(model, texture, 1)


def _paint_lid(model: HeadModel, texture: Floats, side: int) -> Lid:
    atlas = texture.shape[0]
    to_texels = np.array([atlas, -atlas])
    upper, lower = (landmark_map().on_texture(model, rim) * to_texels + [0, atlas] for rim in _RIMS[side])
    width = float(np.linalg.norm(upper[0] - upper[-1]))
    both = np.concatenate([upper, lower])
    low = np.maximum(np.floor(both.min(0) - 0.55 * width).astype(int), 0)
    high = np.minimum(np.ceil(both.max(0) + 0.55 * width).astype(int), atlas)
    patch = texture[low[1] : high[1], low[0] : high[0]].copy()
    upper, lower = upper - low, lower - low
    brow = _brow(model, side, atlas) - low
    above, below, inside = _distances(patch.shape[:2], upper, lower, width)
    skin = _plain_skin(patch, above, below, inside, brow, width)
    closed = _lash_line(skin, patch, above, below, inside, upper, side, width)
    share = np.maximum(1 - smooth_step((above - 0.25) / 0.16), 1 - smooth_step((below - 0.11) / 0.11))
    share = np.maximum(share, inside)[..., None].astype(np.float32)
    return Lid(int(low[0]), int(low[1]), patch, np.clip(closed, 0, 255).astype(np.float32), share)


def _brow(model: HeadModel, side: int, atlas: int) -> Doubles:
    """Texels [5, 2] of the eyebrow."""
    texels = face_texels(model, atlas)
    chosen = model.landmarks[_BROWS[side]]
    return np.array([texels[int(np.argmax(model.corner_vertex == vertex))] for vertex in chosen], np.float64)


def _fixed(points: Doubles) -> NDArray[np.int32]:
    """Points for OpenCV's drawing with 4 fractional bits."""
    return np.round(points * 16).astype(np.int32)


def _distances(shape: tuple[int, ...], upper: Doubles, lower: Doubles, width: float) -> tuple[Floats, Floats, Floats]:
    """[h, w] each: distance from the upper and from the lower rim in eye widths, and 1 inside the open eye."""
    away = []
    for rim in (upper, lower):
        line = np.ones(shape, np.uint8)
        cv2.polylines(line, [_fixed(rim)], False, 0, 1, cv2.LINE_8, 4)
        away.append(cv2.distanceTransform(line, cv2.DIST_L2, 5) / width)
    inside = np.zeros(shape, np.uint8)
    cv2.fillPoly(inside, [_fixed(np.concatenate([upper, lower[::-1]]))], 1, cv2.LINE_8, 4)
    return away[0].astype(np.float32), away[1].astype(np.float32), inside.astype(np.float32)


def _plain_skin(patch: Floats, above: Floats, below: Floats, inside: Floats, brow: Doubles, width: float) -> Floats:
    """The patch with eye, crease, lashes and brow taken out and filled from the skin around."""
    brows = np.zeros(above.shape, np.uint8)
    cv2.polylines(brows, [_fixed(brow)], False, 1, max(3, int(0.26 * width)), cv2.LINE_8, 4)
    unusable = (above < 0.41) | (below < 0.22) | (inside > 0) | (brows > 0)
    if unusable.mean() > 0.98:
        return patch
    filled = cv2.GaussianBlur(push_pull(patch, (~unusable).astype(np.float32)), (0, 0), 0.05 * width)
    typical = np.median(patch[~unusable], 0)
    # Below an eye the skin is often in the lashes' shadow: lift what is darker than usual.
    return (0.6 * np.maximum(filled, 0.9 * typical) + 0.4 * filled).astype(np.float32)


def _lash_line(
    skin: Floats,
    patch: Floats,
    above: Floats,
    below: Floats,
    inside: Floats,
    upper: Doubles,
    side: int,
    width: float,
) -> Floats:
    """A closed lid: a soft fold, a little light on its curve, and lashes that grow towards the outer corner."""
    lid = skin * (1 - 0.10 * np.exp(-(((above - 0.22) / 0.05) ** 2)))[..., None]
    lid *= (1 + 0.05 * np.exp(-(((above - 0.11) / 0.07) ** 2)))[..., None] * np.array([1, 0.97, 0.96])
    grain = np.random.default_rng(side).normal(size=above.shape).astype(np.float32)
    lid *= (1 + 0.024 * cv2.GaussianBlur(grain, (0, 0), 1.2))[..., None]
    inner, outer = (upper[0], upper[-1]) if side == 0 else (upper[-1], upper[0])
    y, x = np.mgrid[0 : above.shape[0], 0 : above.shape[1]]
    along = ((x - inner[0]) * (outer - inner)[0] + (y - inner[1]) * (outer - inner)[1]) / width**2
    along = np.clip(along, -0.2, 1.1)
    thick = -0.02 + 0.075 * along
    lashes = 0.85 * np.exp(-((np.maximum(np.minimum(above, below) - thick, 0) / 0.03) ** 2))
    lashes = np.maximum(lashes, inside * 0.85 * (along > 0.1))[..., None]
    dark = np.minimum(np.median(patch.reshape(-1, 3), 0) * 0.32, [60, 45, 40])
    return lid * (1 - lashes) + dark * lashes
