"""Stills whose face is put into any pose and expression by the reenactor, in one pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.animation.compositing import pasted
from mien.animation.face_edit import FaceChange
from mien.animation.motion_transfer import own_face, portrait_motion
from mien.animation.source import Portrait
from mien.errors import InputError
from mien.models.reenactor import Reenactor
from mien.motion.keypoint_motion import KeypointMotion
from mien.pipelines.pictures import to_pixels, to_uint8
from mien.pipelines.reenactment import Reenactment
from mien.pipelines.x_portrait import XPortraitPipeline


class StillEditor:
    """One portrait, encoded once, to be shown with any change."""

    def __init__(self, pipe: XPortraitPipeline, portrait: Portrait) -> None:
        """Raises InputError if the model has no reenactor."""
        reenactor = reenactor_of(pipe)
        self.portrait = portrait.framed(pipe.crop_scale)
        side = pipe.image_size
        self._keypoints = KeypointMotion(reenactor.basis(), portrait_motion(self.portrait))
        self._own = own_face(self._keypoints)
        source = to_pixels([self.portrait.square(side)], side)
        self._reenactment = Reenactment(reenactor, source, self._keypoints.keypoints)

    def square(self, change: FaceChange, expression: NDArray[np.floating] | None = None) -> NDArray[np.uint8]:
        """The portrait's square [s, s, 3], changed; expression: scores [52] to start from, None: the portrait's own."""
        scores = change.expressed(self._own.blendshapes if expression is None else expression)
        driven = self._keypoints.posed(change.moved(self._own.pose), scores, self._own.extra)
        return to_uint8(self._reenactment.picture(driven)[None])[0]

    def picture(self, change: FaceChange, expression: NDArray[np.floating] | None = None) -> NDArray[np.uint8]:
        """The whole portrait, changed as `square` says; the portrait itself where nothing changes."""
        if expression is None and change.is_nothing:
            return self.portrait.image
        return next(pasted([self.square(change, expression)], self.portrait))

    def mixed(self, other: NDArray[np.floating], gain: float) -> NDArray[np.float64]:
        """Scores [52] from the portrait's own (gain 0) to another face's (gain 1)."""
        return self._own.blendshapes + gain * (np.asarray(other, np.float64) - self._own.blendshapes)


def reenactor_of(pipe: XPortraitPipeline) -> Reenactor:
    """The model's reenactor; InputError if it has none."""
    reenactor = pipe.reenactor
    if reenactor is None:
        raise InputError("this model has no reenactor, which edits stills: use --model nano")
    return reenactor
