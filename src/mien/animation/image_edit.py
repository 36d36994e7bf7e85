"""Stills whose face is put into any pose and expression by plain numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mien.animation.compositing import pasted
from mien.animation.cutting import PersonCutter
from mien.animation.driven_face import DrivenFace, FaceMover, Performance
from mien.animation.expression_list import ListedMotion, listed_faces
from mien.animation.face_edit import FaceChange
from mien.animation.motion_transfer import own_face, portrait_motion
from mien.animation.source import Portrait
from mien.animation.window_engine import FramePainter
from mien.errors import InputError
from mien.motion.keypoint_motion import FaceBasis, KeypointMotion
from mien.pipelines.pictures import to_pixels, to_uint8
from mien.pipelines.reenactment import Reenactment
from mien.pipelines.x_portrait import XPortraitPipeline
from mien.typing import Picture


class StillEditor(ABC):
    """One portrait, encoded once, to be shown with any change. Make it with `still_editor`."""

    def __init__(self, portrait: Portrait, basis: FaceBasis) -> None:
        """portrait: framed as the model knows faces."""
        self.portrait = portrait
        self._mover = FaceMover(basis, portrait_motion(portrait), portrait.crop)
        self._own = own_face(self._mover.shape)

    @abstractmethod
    def square(self, change: FaceChange, expression: NDArray[np.floating] | None = None) -> Picture:
        """The portrait's square, changed.

        Args:
            change: of pose and expression.
            expression: blendshapes [52] to start from; None: the portrait's own.

        Returns:
            uint8 [s, s, 3].
        """

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
        return self._changed(change, expression)

    @abstractmethod
    def _changed(self, change: FaceChange, expression: NDArray[np.floating] | None) -> Picture:
        """The whole portrait, changed."""

    def mixed(self, other: NDArray[np.floating], gain: float) -> NDArray[np.float64]:
        """Blendshapes between the portrait's own and another face's.

        Args:
            other: the other's [52].
            gain: 0: the portrait's own, 1: the other's.

        Returns:
            [52].
        """
        return self._own.blendshapes + gain * (np.asarray(other, np.float64) - self._own.blendshapes)

    @property
    def _shape(self) -> KeypointMotion:
        return self._mover.shape


class ReenactorEditor(StillEditor):
    """By the one-pass reenactor."""

    def __init__(self, pipe: XPortraitPipeline, portrait: Portrait) -> None:
        """pipe: with a reenactor."""
        reenactor = pipe.reenactor
        super().__init__(portrait, reenactor.basis())
        source = to_pixels([portrait.square(pipe.image_size)], pipe.image_size)
        self._reenactment = Reenactment(reenactor, source, self._shape.keypoints)

    def square(self, change: FaceChange, expression: NDArray[np.floating] | None = None) -> Picture:
        """See `StillEditor.square`."""
        scores = change.expressed(self._own.blendshapes if expression is None else expression)
        points = self._shape.posed(change.moved(self._own.pose), scores, self._own.extra)
        return to_uint8(self._reenactment.picture(points)[None])[0]

    def _changed(self, change: FaceChange, expression: NDArray[np.floating] | None) -> Picture:
        return next(pasted([self.square(change, expression)], self.portrait))


def reenacted_list(pipe: XPortraitPipeline, portrait: Portrait, motion: ListedMotion) -> Iterator[Picture]:
    """The portrait's square in every frame of a list of expressions, by the one-pass reenactor.

    Args:
        pipe: with a reenactor.
        portrait: who is moved.
        motion: the list.

    Yields:
        uint8 [s, s, 3].
    """
    mover = FaceMover(pipe.reenactor.basis(), portrait_motion(portrait), portrait.crop)
    moving = Reenactment(
        pipe.reenactor, to_pixels([portrait.square(pipe.image_size)], pipe.image_size), mover.shape.keypoints
    )
    for face in listed_faces(mover, motion):
        points = np.asarray(portrait.crop.points_in(face.keypoints, 1) * 2 - 1, np.float32)
        yield to_uint8(moving.picture(points)[None])[0]


class WindowEditor(StillEditor):
    """By layers, and by a model for face windows, whose driver is a performer or the moved face itself."""

    def __init__(self, pipe: XPortraitPipeline, portrait: Portrait, seed: int = 0) -> None:
        """pipe: a model for face windows. seed: of the noise."""
        basis = pipe.face_basis
        assert basis is not None  # as `still_editor` has it
        super().__init__(portrait, basis)
        self._layer = PersonCutter().cut(portrait.image, self._mover.keypoints)
        self._painter = FramePainter(pipe, portrait.image, self._mover.neutral, self._layer, seed)

    @property
    def layered(self) -> bool:
        """Whether the head moves before its background."""
        return self._layer.layered

    def square(self, change: FaceChange, expression: NDArray[np.floating] | None = None) -> Picture:
        """See `StillEditor.square`."""
        crop = self.portrait.crop
        return crop.extract(self.picture(change, expression), round(crop.size))

    def _changed(self, change: FaceChange, expression: NDArray[np.floating] | None) -> Picture:
        own, pose = self._own.blendshapes, change.moved(self._own.pose)
        scores = change.expressed(own if expression is None else expression)
        driven, calm = self._mover.placed(pose, scores, self._own.extra)
        face = DrivenFace(driven, calm, performance=Performance.of(pose, own, scores))
        return self._painter.picture(face, None)


def still_editor(pipe: XPortraitPipeline, portrait: Portrait, seed: int = 0) -> StillEditor:
    """The editor of a portrait.

    Args:
        pipe: a model that moves by read landmarks.
        portrait: whom.
        seed: of the noise, where there is any.

    Raises:
        InputError: if the model does not move by read landmarks.
    """
    if pipe.face_basis is None:
        raise InputError("this model does not move by read landmarks, which edits of stills need: use --model nano")
    portrait = portrait.framed(pipe.crop_scale)
    if pipe.face_window is not None:
        return WindowEditor(pipe, portrait, seed)
    return ReenactorEditor(pipe, portrait)
