"""A portrait as layers: a head that moves over a background that stands still, at the portrait's own size.

What moves is the head: the face as its keypoints say, hair and ears rigidly with it, the neck easing down to the still
body. The background is filled where the person hid it. Whatever neither the head leaves nor covers stays as it is, to
the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.geometry.face_window import RIGID
from mien.geometry.moving_least_squares import moving_least_squares, similarity
from mien.geometry.smooth import push_pull, smooth_step

Floats = NDArray[np.floating]

_CHIN, _EYE_CORNERS = 8, (36, 45)
# In extents of the 68 landmarks: the ellipse around the head that goes rigidly with it, its shift up, where the local
# map has gone over into the rigid one (parts of the ellipse), how far below the chin the neck comes to rest.
_HEAD, _UP, _LOCAL, _NECK = (0.82, 0.95), 0.12, (0.9, 1.25), (0.045, 0.75)
_RING = 32  # anchors on that ellipse
_COARSE = 56  # places along the longer side at which the flow is computed
_FILL_SIDE = 256  # pixels at which holes are filled
_MARGIN = 0.02  # of the longer side: how far the person's outline is widened before the background is filled
_ALPHA = (0.3, 0.7)  # of the person mask: surely background, surely person
_STILL, _MOVING = 0.35, 2.0  # pixels: below the first nothing has moved, beyond the second layers are laid anew


@dataclass(frozen=True, eq=False)
class HeadLayer:
    """What is made once from a portrait.

    image: uint8 [h, w, 3]. alpha: float32 [h, w], 1 on the person. background: float32 [h, w, 3], filled behind the
    person. keypoints: the portrait's own, [70, 2] pixels.
    """

    image: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    background: NDArray[np.float32]
    keypoints: Floats

    @classmethod
    def cut(cls, image: NDArray[np.uint8], person: NDArray[np.floating], keypoints: Floats) -> HeadLayer:
        """Cut a person out.

        Args:
            image: the portrait, RGB uint8 [h, w, 3].
            person: a person mask's answer [h, w] in [0, 1].
            keypoints: 68 landmarks and two pupils [70, 2], pixels.
        """
        low, high = _ALPHA
        alpha = np.clip((np.asarray(person, np.float32) - low) / (high - low), 0, 1).astype(np.float32)
        return cls(image, alpha, filled_background(image, alpha), np.asarray(keypoints, np.float64))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.image.shape[1], self.image.shape[0]

    def flow(self, driven: Floats, places: Floats) -> NDArray[np.float32]:
        """Where places of the driven picture come from.

        Args:
            driven: keypoints [70, 2], pixels.
            places: [..., 2], pixels.

        Returns:
            [..., 2], pixels of the portrait.
        """
        spots = np.asarray(places, np.float64).reshape(-1, 2)
        matrix, shift = similarity(driven[list(RIGID)], self.keypoints[list(RIGID)])
        rigid = spots @ matrix.T + shift
        ring, far = _around_head(driven, spots)
        anchors = np.concatenate([driven, ring])
        origins = np.concatenate([self.keypoints, ring @ matrix.T + shift])
        local = moving_least_squares(anchors, origins, spots)
        moved = local + (rigid - local) * far[:, None]
        eased = spots + (moved - spots) * _down_to_the_body(driven, spots)[:, None]
        return np.asarray(eased, np.float32).reshape(np.shape(places))

    def moved(self, driven: Floats) -> MovedHead:
        """The head with its keypoints at `driven` [70, 2], pixels."""
        width, height = self.size
        step = max(width, height) / _COARSE
        columns, rows = max(8, round(width / step)), max(8, round(height / step))
        coarse = np.stack(
            np.meshgrid((np.arange(columns) + 0.5) / columns * width, (np.arange(rows) + 0.5) / rows * height), -1
        ).astype(np.float32)
        away = cv2.resize(self.flow(driven, coarse) - coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        x = away[..., 0] + np.arange(width, dtype=np.float32)
        y = away[..., 1] + np.arange(height, dtype=np.float32)[:, None]
        # what the picture's border cuts is mirrored, not drawn out
        picture = cv2.remap(self.image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        alpha = cv2.remap(self.alpha, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        laid = smooth_step((np.hypot(away[..., 0], away[..., 1]) - _STILL) / (_MOVING - _STILL))
        return MovedHead(np.asarray(picture, np.uint8), np.asarray(alpha, np.float32), laid.astype(np.float32))

    def over_background(self, moved: MovedHead, picture: NDArray[np.floating] | None = None) -> NDArray[np.uint8]:
        """Lay a moved head over the background.

        Args:
            moved: as `moved` gives it.
            picture: what is shown in its place, [h, w, 3] in [0, 255] (the same, repainted); None: itself.

        Returns:
            uint8 [h, w, 3].
        """
        shown = np.asarray(moved.picture if picture is None else picture, np.float32)
        # where the person is not and was not, the portrait's own background is seen
        share = (1 - moved.alpha[..., None]) * moved.laid[..., None]
        made = shown * (1 - share) + self.background * share
        return np.clip(made + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class MovedHead:
    """A portrait that has moved.

    picture: uint8 [h, w, 3]. alpha: [h, w], the person in it. laid: [h, w], 0 where nothing moves, 1 where layers are
    laid anew.
    """

    picture: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    laid: NDArray[np.float32]


def filled_background(image: NDArray[np.uint8], alpha: NDArray[np.floating]) -> NDArray[np.float32]:
    """The background [h, w, 3] with what the person (alpha [h, w]) hides filled smoothly from around it."""
    height, width = alpha.shape
    margin = max(3, round(_MARGIN * max(height, width)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    hole = cv2.dilate((alpha > 0.1).astype(np.uint8), kernel)
    zoom = min(1.0, _FILL_SIDE / max(height, width))
    small_size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    small = cv2.resize(image, small_size, interpolation=cv2.INTER_AREA).astype(np.float32)
    known = 1 - cv2.resize(hole, small_size, interpolation=cv2.INTER_NEAREST).astype(np.float32)
    if not known.any():
        return image.astype(np.float32)
    filled = cv2.GaussianBlur(push_pull(small, known), (0, 0), 2)
    large = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
    share = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), margin / 3)[..., None]
    return np.asarray(image * (1 - share) + large * share, np.float32)


def _around_head(points: Floats, spots: Floats) -> tuple[Floats, Floats]:
    """Anchors [32, 2] on the ellipse around a head with keypoints [70, 2], and how far out spots [n, 2] lie, [n]."""
    extent = float(np.ptp(points[:68], axis=0).max())
    along = points[_EYE_CORNERS[1]] - points[_EYE_CORNERS[0]]
    along = along / max(float(np.linalg.norm(along)), 1e-6)
    axes = np.stack([along, [-along[1], along[0]]])
    own = points[:68] @ axes.T
    centre = ((own.min(0) + own.max(0)) / 2 - [0, _UP * extent]) @ axes
    radii = np.array(_HEAD) * extent
    turns = np.linspace(0, 2 * np.pi, _RING, endpoint=False)
    ring = centre + (np.stack([np.cos(turns), np.sin(turns)], 1) * radii) @ axes
    out = np.linalg.norm((spots - centre) @ axes.T / radii, axis=1)
    return ring, smooth_step((out - _LOCAL[0]) / (_LOCAL[1] - _LOCAL[0]))


def _down_to_the_body(points: Floats, spots: Floats) -> Floats:
    """How far spots [n, 2] go with the head: 1 above the chin, 0 where the body stands still, [n]."""
    along = points[_EYE_CORNERS[1]] - points[_EYE_CORNERS[0]]
    along = along / max(float(np.linalg.norm(along)), 1e-6)
    extent = float(np.ptp(points[:68], axis=0).max())
    below = (spots - points[_CHIN]) @ np.array([-along[1], along[0]]) / extent
    return smooth_step(1 - (below - _NECK[0]) / _NECK[1])
