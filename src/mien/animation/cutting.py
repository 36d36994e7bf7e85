"""Cutting a person out of a picture, and saying so where that cannot be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.animation.layers import HeadLayer
from mien.faces.person_mask import PersonMask
from mien.geometry.blend_weights import face_blend_weights
from mien.geometry.smooth import smooth_step
from mien.motion.keypoint_motion import Floats
from mien.typing import Picture

_SEEN = 2.4  # half side of the square around a face in which its person is looked for, extents of the landmarks
_FADE = (1.5, 2.0)  # extents beside and above the face where what may be somebody else begins and ends to count less
_SHOULDERS = (0.45, 0.3)  # extents below the middle of the face: where they begin, and how softly
_DOUBT = (0.06, 0.25)  # of the mask: what may be, and what is taken for, a shoulder
_SEAM = 8.0  # steepness of the change from one person to the next
_LEAST_FACE = 0.8  # of the face's hull that the mask must take for a person
_LEAST_GROUND = 0.03  # of the picture around that must be background

NO_PERSON = "no person could be told from the background of {name}, so the whole picture is bent around the face"


class PersonCutter:
    """Cuts people out, with one network for all pictures."""

    def __init__(self, mask: Callable[[Picture], NDArray[np.float32]] | None = None) -> None:
        """mask: gives the share of a person [h, w] in [0, 1] for a picture; None: the network of the package."""
        self._given = mask

    @cached_property
    def _mask(self) -> Callable[[Picture], NDArray[np.float32]]:
        return self._given or PersonMask()

    def cut(
        self, image: Picture, keypoints: Floats, others: Sequence[Floats] = (), layered: bool | None = None
    ) -> HeadLayer:
        """The layers of one person; without them where the mask disagrees with the face.

        Args:
            image: uint8 [h, w, 3].
            keypoints: the person's [70, 2], pixels.
            others: landmarks [68 or more, 2] of others in the picture, whose heads are not taken along.
            layered: whether there are to be layers, as for the frames of one video; None: where the mask agrees.
        """
        if layered is False:
            return HeadLayer.cut(image, None, keypoints)
        person = self._around(image, keypoints)
        if layered is None and not _agrees(person, keypoints):
            return HeadLayer.cut(image, None, keypoints)
        hidden = person
        if others:
            height, width = person.shape
            hidden = np.maximum(person, np.maximum.reduce([self._around(image, points) for points in others]))
            weights = face_blend_weights([keypoints[:68], *(points[:68] for points in others)], width, height)
            # a narrow seam: whoever is half there is seen through
            person = person * np.clip((weights[0] - 0.5) * _SEAM + 0.5, 0, 1)
        return HeadLayer.cut(image, _alone(person, keypoints), keypoints, hidden=hidden)

    def _around(self, image: Picture, keypoints: Floats) -> NDArray[np.float32]:
        """The mask of a picture, looked at closely where the face is; 0 far from it."""
        height, width = image.shape[:2]
        low, high = keypoints[:68].min(0), keypoints[:68].max(0)
        reach = _SEEN * float((high - low).max())
        centre = (low + high) / 2
        left, top = (max(int(centre[axis] - reach), 0) for axis in (0, 1))
        right, bottom = (min(int(np.ceil(centre[axis] + reach)), (width, height)[axis]) for axis in (0, 1))
        mask = np.zeros((height, width), np.float32)
        if right > left and bottom > top:
            mask[top:bottom, left:right] = self._mask(np.ascontiguousarray(image[top:bottom, left:right]))
        return mask


def _agrees(person: NDArray[np.float32], keypoints: Floats) -> bool:
    """Whether the mask takes the face for a person, and anything for background."""
    hull = cv2.convexHull(np.asarray(keypoints[:68], np.float32)).astype(np.int32)
    face = cv2.fillConvexPoly(np.zeros(person.shape, np.uint8), hull, 1) > 0
    if not face.any() or float((person[face] > 0.5).mean()) < _LEAST_FACE:
        return False
    return float((person < 0.5).mean()) > _LEAST_GROUND


def _alone(person: NDArray[np.float32], keypoints: Floats) -> NDArray[np.float32]:
    """The mask without what lies far beside and above the face."""
    low, high = keypoints[:68].min(0), keypoints[:68].max(0)
    extent, centre = float((high - low).max()), (low + high) / 2
    height, width = person.shape
    beside = np.abs(np.arange(width) + 0.5 - centre[0]) / extent
    above = (centre[1] - np.arange(height) - 0.5) / extent
    kept = [1 - smooth_step((far - _FADE[0]) / (_FADE[1] - _FADE[0])) for far in (beside, above)]
    faded = np.minimum(kept[0][None, :], kept[1][:, None])
    # shoulders stand nearly still: they may be as wide as they are, and where a mask doubts them they are there
    below = smooth_step((-above - _SHOULDERS[0]) / _SHOULDERS[1])[:, None]
    doubted = np.clip((person - _DOUBT[0]) / (_DOUBT[1] - _DOUBT[0]), 0, 1)
    return np.asarray(np.maximum(person * faded, np.maximum(person, doubted) * below), np.float32)
