"""X-Portrait nano behind a camera: every frame is a window of its own, as the sliders of `mien edit` have it.

Diffusion sees windows of frames of a clip, which a camera does not have yet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.animation.driven_face import FaceMover
from mien.animation.frame_stepper import LiveControl, LiveFrame
from mien.animation.layers import HeadLayer
from mien.animation.live_motion import LiveMotion
from mien.animation.motion_transfer import portrait_motion
from mien.animation.source import Portrait
from mien.animation.window_engine import FramePainter
from mien.motion.motion_limits import MotionLimits
from mien.pipelines.x_portrait import XPortraitPipeline


class WindowStepper:
    """See `FrameStepper`; by layers, and by a model for face windows."""

    def __init__(
        self, pipe: XPortraitPipeline, portrait: Portrait, layer: HeadLayer, limits: MotionLimits | None
    ) -> None:
        """Encode a portrait. pipe: a model for face windows. layer: the portrait, cut out. limits: of its head."""
        basis = pipe.face_basis
        assert basis is not None  # as models for face windows have it
        self._motion = LiveMotion(portrait, basis, pipe.crop_scale, limits)
        mover = FaceMover(basis, portrait_motion(portrait), portrait.crop)
        self._painter = FramePainter(pipe, portrait.image, mover.neutral, layer, many=True)

    def calibrate(self, frame: LiveFrame) -> None:
        """See `FrameStepper.calibrate`."""
        self._motion.calibrate(frame)

    def step(self, frame: LiveFrame, control: LiveControl) -> NDArray[np.uint8]:
        """See `FrameStepper.step`."""
        face = self._motion.face(frame, control)
        # the camera's face knows nothing of sliders of the expression: what it shows as well as they are performed then
        return self._painter.picture(face, None if control.change.expresses else frame.image)
