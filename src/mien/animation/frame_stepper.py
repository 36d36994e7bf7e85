"""What a model that can follow a camera offers: one picture for each driving frame, at once, from what came before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.animation.config import AnimationConfig
from mien.animation.face_edit import FaceChange
from mien.faces import FaceReading


@dataclass(frozen=True)
class LiveFrame:
    """A frame of the camera with the face in it.

    Attributes:
        image: uint8 [h, w, 3].
        reading: the face, in its pixels.
        seconds: since the frame before, above 0.
    """

    image: NDArray[np.uint8]
    reading: FaceReading
    seconds: float = 1 / 25


@dataclass(frozen=True)
class LiveControl:
    """What can be changed from one frame to the next.

    Attributes:
        config: gains, smoothing, and whether motion is relative; the rest of it means nothing here.
        change: what is changed beside: the sliders of `mien edit`.
    """

    config: AnimationConfig = field(default_factory=lambda: AnimationConfig(relative=True))
    change: FaceChange = field(default_factory=FaceChange)


class FrameStepper(Protocol):
    """One person of a source, ready to follow a camera; see `mien.animation.animator.Animator.live`."""

    def calibrate(self, frame: LiveFrame) -> None:
        """From here on motion counts from this frame's face, which is laid over the portrait's.

        Args:
            frame: with its face.
        """

    def step(self, frame: LiveFrame, control: LiveControl) -> NDArray[np.uint8]:
        """The portrait, doing what the face in the frame does; `calibrate` was called before.

        Args:
            frame: of the camera, with its face.
            control: gains and smoothing, and what the sliders add.

        Returns:
            The whole picture, uint8 [H, W, 3] at the portrait's own size.
        """
