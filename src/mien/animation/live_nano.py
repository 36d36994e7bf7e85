"""Nano behind a camera: the reenactor's one pass a frame, as the sliders of `mien edit` have it.

Its diffusion step sees windows of frames, which a camera does not have yet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.animation.compositing import pasted
from mien.animation.frame_stepper import LiveControl, LiveFrame
from mien.animation.image_edit import reenactor_of
from mien.animation.live_motion import LiveMotion
from mien.animation.source import Portrait
from mien.pipelines.pictures import to_pixels, to_uint8
from mien.pipelines.reenactment import Reenactment
from mien.pipelines.x_portrait import XPortraitPipeline


class ReenactorStepper:
    """See `FrameStepper`."""

    def __init__(self, pipe: XPortraitPipeline, portrait: Portrait) -> None:
        """Encode a portrait. Raises InputError if the model has no reenactor."""
        reenactor, side = reenactor_of(pipe), pipe.image_size
        self._portrait = portrait
        self._motion = LiveMotion(portrait, reenactor.basis(), pipe.crop_scale, pipe.motion_limits)
        source = to_pixels([portrait.square(side)], side)
        self._reenactment = Reenactment(reenactor, source, self._motion.keypoints.keypoints)

    def calibrate(self, frame: LiveFrame) -> None:
        """See `FrameStepper.calibrate`."""
        self._motion.calibrate(frame)

    def step(self, frame: LiveFrame, control: LiveControl) -> NDArray[np.uint8]:
        """See `FrameStepper.step`."""
        picture = self._reenactment.picture(self._motion.driven(frame, control))
        return next(pasted([to_uint8(picture[None])[0]], self._portrait))
