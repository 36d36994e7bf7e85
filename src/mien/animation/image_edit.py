"""Stills whose face is put into any pose and expression by plain numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.animation.cutting import PersonCutter
from mien.animation.driven_face import DrivenFace, FaceMover, Performance
from mien.animation.face_edit import FaceChange
from mien.animation.motion_transfer import own_face, portrait_motion
from mien.animation.source import Portrait
from mien.animation.window_engine import FramePainter
from mien.errors import InputError
from mien.pipelines.x_portrait import XPortraitPipeline
from mien.typing import Picture


class StillEditor:
    """One portrait, encoded once, to be shown with any change. Make it with `still_editor`.

    It is moved by layers, and painted by a model for face windows, whose driver is a performer or the moved face.
    """

    def __init__(self, pipe: XPortraitPipeline, portrait: Portrait, seed: int = 0) -> None:
        """pipe: a model for face windows. portrait: framed as the model knows faces. seed: of the noise."""
        basis = pipe.face_basis
        assert basis is not None  # as `still_editor` has it
        self.portrait = portrait
        self._mover = FaceMover(basis, portrait_motion(portrait), portrait.crop)
        self._own = own_face(self._mover.shape)
        self._layer = PersonCutter().cut(portrait.image, self._mover.keypoints)
        self._painter = FramePainter(pipe, portrait.image, self._mover.neutral, self._layer, seed)

    @property
    def layered(self) -> bool:
        """Whether the head moves before its background."""
        return self._layer.layered

    def square(self, change: FaceChange, expression: NDArray[np.floating] | None = None) -> Picture:
        """The portrait's square, changed.

        Args:
            change: of pose and expression.
            expression: blendshapes [52] to start from; None: the portrait's own.

        Returns:
            uint8 [s, s, 3].
        """
        crop = self.portrait.crop
        return crop.extract(self.picture(change, expression), round(crop.size))

    def picture(self, change: FaceChange, expression: NDArray[np.floating] | None = None) -> Picture:
        """The whole portrait, changed; the portrait itself where nothing changes.

        Args:
            change: of pose and expression.
            expression: blendshapes [52] to start from; None: the portrait's own.

        Returns:
            uint8 [H, W, 3].
        """
        if expression is None and change.is_nothing:
            return self.portrait.image
        own, pose = self._own.blendshapes, change.moved(self._own.pose)
        scores = change.expressed(own if expression is None else expression)
        driven, calm = self._mover.performed(pose, scores, self._own)
        face = DrivenFace(driven, calm, performance=Performance.of(pose, own, scores))
        return self._painter.picture(face, None)

    def mixed(self, other: NDArray[np.floating], gain: float) -> NDArray[np.float64]:
        """Blendshapes between the portrait's own and another face's.

        Args:
            other: the other's [52].
            gain: 0: the portrait's own, 1: the other's.

        Returns:
            [52].
        """
        return self._own.blendshapes + gain * (np.asarray(other, np.float64) - self._own.blendshapes)


def still_editor(pipe: XPortraitPipeline, portrait: Portrait, seed: int = 0) -> StillEditor:
    """The editor of a portrait.

    Args:
        pipe: a model that moves by read landmarks.
        portrait: whom.
        seed: of the noise, where there is any.

    Raises:
        InputError: if the model does not move by read landmarks.
    """
    if pipe.face_window is None or pipe.face_basis is None:
        raise InputError("this model does not move by read landmarks, which edits of stills need: use --model nano")
    return StillEditor(pipe, portrait.framed(pipe.crop_scale), seed)
