"""How a model for face windows is shown a driver, and how what it paints becomes pictures.

The model works in an upright window around the face (`mien.geometry.face_window`); everything else is layers
(`mien.animation.layers`), at the portrait's own size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.animation.driven_face import DrivenFace
from mien.animation.layers import HeadLayer
from mien.diffusion import SamplerState
from mien.geometry.face_window import (
    LOCAL_ZOOM,
    FaceWindow,
    PaintedWindow,
    eyes_and_mouth,
    rectified_driver,
    sample_smoothly,
)
from mien.pipelines.finishing import Checkpoint

Picture = NDArray[np.uint8]
_LEVELS = 65535  # in which a window's flow is kept aside
_WIDEST = 2.0  # half sides; no flow goes further


@dataclass(frozen=True, eq=False)
class WindowDriver:
    """What a model for face windows sees of one frame.

    Attributes:
        whole: the driver rectified onto the portrait's face, uint8 [s, s, 3].
        parts: its eyes and mouth at twice the size, the rest grey, uint8 [2 s, 2 s, 3].
        moved: the moved portrait, from which the painting starts, uint8 [s, s, 3].
    """

    whole: Picture
    parts: Picture
    moved: Picture


def shown_window(image: Picture, window: FaceWindow, side: int) -> Picture:
    """What a picture [h, w, 3] shows in a window, [side, side, 3]: how a model is shown the portrait."""
    return sample_smoothly(image, window.places(side), side / (2 * window.half))


def window_driver(face: DrivenFace, layer: HeadLayer, frame: Picture | None, side: int) -> WindowDriver:
    """What the model sees of one frame.

    Args:
        face: the portrait's.
        layer: the portrait.
        frame: the driving frame [h, w, 3]; None: the moved portrait itself, larger, is shown in its place, so that what
            is painted is what has been moved.
        side: of the window, pixels.
    """
    window, large = face.window, LOCAL_ZOOM * side
    moved = layer.moved_window(face.keypoints, window, side)
    if frame is None or face.driving is None:
        seen = layer.moved_window(face.keypoints, window, large)
    else:
        seen = rectified_driver(window, frame, face.driving, face.neutral, large)
    parts = eyes_and_mouth(seen, window.inside(face.neutral))
    return WindowDriver(cv2.resize(seen, (side, side), interpolation=cv2.INTER_AREA), parts, moved)


def window_drivers(
    faces: Sequence[DrivenFace], layers: Iterable[HeadLayer], frames: Iterable[Picture], side: int
) -> Iterator[WindowDriver]:
    """`window_driver` of every frame, one at a time."""
    for face, layer, frame in zip(faces, layers, frames, strict=False):
        yield window_driver(face, layer, frame, side)


def together(
    people: Sequence[tuple[Sequence[DrivenFace], Iterable[HeadLayer], Iterable[PaintedWindow]]],
) -> Iterator[Picture]:
    """Whole pictures, uint8 [h, w, 3], at the portrait's own size.

    Args:
        people: of everybody in the picture, the nearest last: where the face goes, the layers of every frame, and what
            was painted.
    """
    # the windows come first: they are late, and no frame must be held for them
    streams = [zip(windows, faces, layers, strict=False) for faces, layers, windows in people]
    for row in zip(*streams, strict=True):
        made: Picture | None = None
        for painted, face, layer in row:
            made = layer.frame(face.keypoints, face.window, painted, made)
        assert made is not None  # somebody is in the picture
        yield made


class WindowCheckpoint:
    """Keeps painted windows in a checkpoint for pictures, each as one square picture."""

    def __init__(self, kept: Checkpoint) -> None:
        self._kept = kept

    def state(self) -> SamplerState | None:
        """See `Checkpoint.state`."""
        return self._kept.state()

    def save(self, frames: Sequence[PaintedWindow], state: Callable[[], SamplerState]) -> None:
        """See `Checkpoint.save`."""
        self._kept.save([packed(window) for window in frames], state)

    def frames(self) -> Iterator[PaintedWindow]:
        """The windows that were finished before."""
        kept: Any = self._kept
        return map(unpacked, kept.frames())


def settled(windows: Iterable[PaintedWindow]) -> Iterator[PaintedWindow]:
    """The windows as they would come back from a checkpoint, so that a run which goes on gives the same pictures."""
    return (unpacked(packed(window)) for window in windows)


def packed(window: PaintedWindow) -> Picture:
    """A window as one square picture, uint8 [2 s, 2 s, 3]: the finished one, the paint, the share, the flow."""
    share = np.rint(np.clip(window.share, 0, 1) * 255).astype(np.uint8)
    flow = np.rint((np.clip(window.flow / _WIDEST, -1, 1) + 1) / 2 * (_LEVELS - 1)).astype(np.uint16)
    high, low = (flow >> 8).astype(np.uint8), (flow & 255).astype(np.uint8)
    paint = np.clip(np.rint(window.paint), 0, 255).astype(np.uint8)
    upper = np.concatenate([window.picture, paint], 1)
    lower = np.concatenate([np.dstack([share, high]), np.dstack([share, low])], 1)
    return np.concatenate([upper, lower], 0)


def unpacked(picture: Picture) -> PaintedWindow:
    """The window that `packed` made a picture of."""
    side = picture.shape[0] // 2
    finished, paint = picture[:side, :side], picture[:side, side:].astype(np.float32)
    share = picture[side:, :side, 0].astype(np.float32) / 255
    high, low = picture[side:, :side, 1:].astype(np.float32), picture[side:, side:, 1:].astype(np.float32)
    flow = ((high * 256 + low) / (_LEVELS - 1) * 2 - 1) * _WIDEST
    return PaintedWindow(np.ascontiguousarray(finished), paint, share, np.asarray(flow, np.float32))
