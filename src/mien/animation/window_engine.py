"""How a model for face windows is shown a driving video, and how what it paints becomes pictures.

The model works in an upright window around the face (`mien.geometry.face_window`); everything else is layers
(`mien.animation.layers`), at the portrait's own size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch

from mien.animation.driven_face import DrivenFace, Performance
from mien.animation.layers import HeadLayer
from mien.animation.performer import performer
from mien.diffusion import SamplerState
from mien.geometry.draw_landmarks import drawn_in_window
from mien.geometry.face_window import (
    FaceWindow,
    PaintedWindow,
    changed_parts,
    local_view,
    opened_parts,
    rectified_driver,
    sample_smoothly,
)
from mien.geometry.smooth import smooth_step
from mien.motion.keypoint_motion import Floats
from mien.pipelines.finishing import Checkpoint
from mien.typing import Picture

# shares: below the first nothing is painted, above the second all that the model says
_SKIN, _PARTS, _OPENED = (0.4, 0.8), (0.2, 0.5), (0.1, 0.35)


@dataclass(frozen=True, eq=False)
class WindowDriver:
    """What a model for face windows sees of one frame.

    Attributes:
        whole: the driving video rectified onto the portrait's face, uint8 [s, s, 3].
        parts: its eyes and mouth, larger, the rest grey, uint8 [t, t, 3].
        moved: the moved portrait, from which the painting starts, uint8 [s, s, 3].
    """

    whole: Picture
    parts: Picture
    moved: Picture


def shown_window(image: Picture, window: FaceWindow, side: int) -> Picture:
    """What a picture shows in a window: how a model is shown the portrait.

    Args:
        image: uint8 [h, w, 3].
        window: in pixels of the picture.
        side: of the result, pixels.

    Returns:
        uint8 [side, side, 3].
    """
    return sample_smoothly(image, window.places(side), side / (2 * window.half))


def window_driver(face: DrivenFace, layer: HeadLayer, frame: Picture | None, sides: tuple[int, int]) -> WindowDriver:
    """What the model sees of one frame.

    Args:
        face: the portrait's.
        layer: the portrait.
        frame: the driving frame [h, w, 3]; None: the moved portrait itself, larger, is shown in its place, so that what
            is painted is what has been moved; somebody performs what changes of its expression.
        sides: of the window and of the picture of eyes and mouth, pixels.
    """
    window, (side, large) = face.window, sides
    moved = layer.moved_window(face.keypoints, window, side)
    if frame is None or face.driving is None:
        seen = layer.moved_window(face.keypoints, window, large)
        if face.performance is not None:
            seen = _performed(face, face.performance, seen)
    else:
        seen = rectified_driver(window, frame, face.driving, face.neutral, large)
    parts = local_view(seen, window.inside(face.neutral))
    return WindowDriver(cv2.resize(seen, (side, side), interpolation=cv2.INTER_AREA), parts, moved)


View = Callable[[DrivenFace, HeadLayer, Picture | None, tuple[int, int]], WindowDriver]


def drawn_landmarks(face: DrivenFace, layer: HeadLayer, _frame: Picture | None, sides: tuple[int, int]) -> WindowDriver:
    """As `window_driver`, for the landmark baseline: the moved portrait's landmarks, no pixel of the driving video."""
    window, (side, large) = face.window, sides
    seen = drawn_in_window(window, face.keypoints, sides)
    moved = layer.moved_window(face.keypoints, window, side)
    return WindowDriver(seen[:: large // side, :: large // side], local_view(seen, window.inside(face.neutral)), moved)


def _performed(face: DrivenFace, performance: Performance, moved: Picture) -> Picture:
    """The moved portrait [s, s, 3] with the performer's eyes, brows and mouth where those change."""
    picture, neutral = performer().frame(performance.pose, performance.blendshapes)
    seen = rectified_driver(face.window, picture, neutral, face.neutral, len(moved))
    share = changed_parts(face.window.inside(face.neutral), performance.parts, len(moved))
    return np.asarray(cv2.blendLinear(seen, moved, share, 1 - share), np.uint8)


def window_drivers(
    faces: Sequence[DrivenFace],
    layers: Iterable[HeadLayer],
    frames: Iterable[Picture | None],
    sides: tuple[int, int],
    finished: int = 0,
    view: View = window_driver,
) -> Iterator[WindowDriver]:
    """What the model is shown for every frame, one at a time.

    Args:
        faces: of every frame.
        layers: of every frame.
        frames: of the driving video; None: there is none, see `window_driver`.
        sides: of the window and of its parts of eyes and mouth, pixels.
        finished: so many at the start are black, as nobody looks at them.
        view: what it is shown of one: `window_driver`, or `drawn_landmarks`.

    Yields:
        One a frame.
    """
    black = WindowDriver(*(np.zeros((side, side, 3), np.uint8) for side in (sides[0], sides[1], sides[0])))
    for number, (face, layer, frame) in enumerate(zip(faces, layers, frames, strict=False)):
        yield black if number < finished else view(face, layer, frame, sides)


def finished_window(packed: Picture, face: DrivenFace) -> PaintedWindow:
    """What is laid over a moved face, from what a model painted.

    Only what the model is sure of is painted, away from eyes, brows and mouth above all: skin that is painted over by a
    tenth has lost a fifth of its pores and shows nothing for it. Between lids and between lips it is painted more than
    the model says: what the portrait has there was drawn out of lids and lips, and would tint teeth and whites. So are
    lids that shut where an eye is else.

    Args:
        packed: see `PaintedWindow.packed`.
        face: the portrait's.
    """
    painted = PaintedWindow.unpacked(packed)
    share = painted.share
    parts = changed_parts(face.window.inside(face.neutral), (1.0, 1.0, 1.0), len(share))
    opened = opened_parts((face.window.inside(points) for points in (face.keypoints, face.neutral)), len(share))
    skin, inside, open_ = (smooth_step((share - low) / (high - low)) for low, high in (_SKIN, _PARTS, _OPENED))
    around = parts * inside + (1 - parts) * skin
    share = share * (around + (open_ - around) * opened)
    return replace(painted, share=np.asarray(share + opened * share * (1 - share), np.float32))


def together(
    people: Sequence[tuple[Sequence[DrivenFace], Iterable[HeadLayer], Iterable[Picture]]],
) -> Iterator[Picture]:
    """Whole pictures, uint8 [h, w, 3], at the portrait's own size.

    Args:
        people: of everybody in the picture, the nearest last: where the face goes, the layers of every frame, and what
            was painted, packed (`PaintedWindow.packed`).
    """
    # the windows come first: they are late, and no frame must be held for them
    streams = [zip(windows, faces, layers, strict=False) for faces, layers, windows in people]
    for row in zip(*streams, strict=True):
        made: Picture | None = None
        for painted, face, layer in row:
            made = layer.frame(face.keypoints, face.window, finished_window(painted, face), made)
        assert made is not None  # somebody is in the picture
        yield made


class FramePainter:
    """One portrait, encoded once, whose pictures are painted one at a time, each a window of its own."""

    def __init__(
        self, pipe: Any, image: Picture, neutral: Floats, layer: HeadLayer, seed: int = 0, many: bool = False
    ) -> None:
        """Take a portrait.

        Args:
            pipe: an `XPortraitPipeline` for face windows; others may set their portraits in it meanwhile.
            image: the portrait's picture [h, w, 3].
            neutral: its keypoints without expression [70, 2], pixels.
            layer: the portrait, cut out.
            seed: of the noise, the same for every picture.
            many: there will be so many pictures that programs pay, see `mien.pipelines.compiled`.
        """
        side = pipe.face_window
        self._layer, self._seed, self._sides = layer, seed, (side, pipe.local_size)
        # the networks are shared, the portrait that is set is not
        self._pipe = copy(pipe)
        self._pipe.scheduler = copy(pipe.scheduler)
        self._pipe.set_portrait([shown_window(image, FaceWindow.around(neutral), side)])
        self._pipe.kept_references = {}
        self._many = many

    def picture(self, face: DrivenFace, frame: Picture | None) -> Picture:
        """The whole portrait at its own size, with its face painted.

        Args:
            face: where it goes.
            frame: of the camera; None: there is none, see `window_driver`.

        Returns:
            uint8 [h, w, 3].
        """
        shown = window_driver(face, self._layer, frame, self._sides)
        generator = torch.Generator("cpu").manual_seed(self._seed)
        given = {"start_frames": [shown.moved], "generator": generator, "compiled": self._many}
        painted = next(self._pipe.stream([shown.whole], [shown.parts], **given))
        return self._layer.frame(face.keypoints, face.window, finished_window(painted, face))


class WindowCheckpoint:
    """Keeps packed windows in a checkpoint for square pictures."""

    def __init__(self, kept: Checkpoint) -> None:
        self._kept = kept

    def state(self) -> SamplerState | None:
        """See `Checkpoint.state`."""
        return self._kept.state()

    def save(self, frames: Sequence[Picture], state: Callable[[], SamplerState]) -> None:
        """See `Checkpoint.save`; frames: packed windows, [3 s, s, 3]."""
        self._kept.save([_squared(window) for window in frames], state)

    def frames(self) -> Iterator[Picture]:
        """The windows that were finished before."""
        kept: Any = self._kept
        return map(_upright, kept.frames())


def _squared(packed: Picture) -> Picture:
    """A packed window [3 s, s, 3] as a square [2 s, 2 s, 3]."""
    first, second, third = np.split(packed, 3)
    return np.concatenate([np.concatenate([first, second], 1), np.concatenate([third, np.zeros_like(third)], 1)])


def _upright(square: Picture) -> Picture:
    """What `_squared` was given."""
    side = len(square) // 2
    return np.concatenate([square[:side, :side], square[:side, side:], square[side:, :side]])
