"""DeX-Portrait nano behind a camera: pose and expression codes of one frame after the other, each a picture at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.animation.carried_pose import carried
from mien.animation.frame_stepper import LiveControl, LiveFrame
from mien.errors import InputError
from mien.geometry import SquareCrop, driver_crop
from mien.models.dex_portrait import Gains, Motion, Pose
from mien.models.dex_portrait.driving import limited_motion
from mien.models.dex_portrait.pose import code_of_head_pose
from mien.motion.keypoint_motion import FaceMotion
from mien.motion.one_euro import LiveFilter

if TYPE_CHECKING:
    from mien.animation.dex_window import DeXWindowAnimator

_SIDE = 256  # pixels of the square that the encoders' pictures are made from


class DeXWindowStepper:
    """See `FrameStepper`; the expression is one code, so of the gains for eyes, mouth and brows the mean counts."""

    def __init__(self, animator: DeXWindowAnimator) -> None:
        """Encode a portrait. animator: with a source; another may be set in it afterwards."""
        self._animator = animator.apart()
        self._person = self._animator.source.portraits[0]
        self._animator._encode(self._person)
        self._layer = self._animator.layer(self._person)
        self._crop: SquareCrop | None = None
        self._filter = LiveFilter()

    def calibrate(self, frame: LiveFrame) -> None:
        """See `FrameStepper.calibrate`."""
        height, width = frame.image.shape[:2]
        self._crop = driver_crop([frame.reading.landmarks], width, height, self._animator.pipe.crop_scale)
        self._filter.restart()
        self._reference = self._read(frame)

    def step(self, frame: LiveFrame, control: LiveControl) -> NDArray[np.uint8]:
        """See `FrameStepper.step`."""
        animator, change = self._animator, control.change
        pipe, config = animator.pipe, animator.resolved(control.config)
        faces = (config.eyes_gain + config.mouth_gain + config.brows_gain) / 3
        gains = Gains(config.pose_gain * config.head_gain, config.expression_gain * faces, config.relative)
        seen = self._smoothed(self._read(frame), config.smooth, frame.seconds)
        # the frame that motion counts from comes along, and is not played
        codes = [torch.cat(pair) for pair in zip(_codes(seen), _codes(self._reference), strict=True)]
        motion = Motion(codes[0], codes[1], 1)
        limits = animator.limits(self._person, config)
        if limits is not None and not gains.relative:  # the pipeline limits relative motion
            motion = limited_motion(Pose.from_code(pipe.portrait.pose), motion, limits)
        driven = pipe.drive(motion, motion, gains, 1, limits)
        own = animator.mover(self._person).shape.source.pose
        pose = own if gains.pose == 0 else carried(own, driven, 0)
        pose = change.moved(pose) if change.moves else pose
        return animator.painted(self._person, self._layer, pose, driven.expression, change, config)

    def _read(self, frame: LiveFrame) -> Motion:
        """Codes of one frame."""
        if self._crop is None:
            raise InputError("no face of the camera was laid over the portrait's: call calibrate first")
        crop, landmarks = self._crop, frame.reading.landmarks
        read: Motion = self._animator.pipe.read_motion(
            [(crop.extract(frame.image, _SIDE), crop.points_in(landmarks, 1))]
        )
        return read

    def _smoothed(self, motion: Motion, strength: float, seconds: float) -> Motion:
        if strength <= 0:  # codes stay as they are, to the last digit
            self._filter.restart()
            return motion
        # a code is filtered as scores are
        head, code = Pose.from_code(motion.pose).head_pose(), motion.expression[0].double().numpy()
        even = self._filter(FaceMotion(np.zeros((68, 2)), head, code), strength, seconds)
        pose = torch.from_numpy(code_of_head_pose(even.pose))[None]
        return replace(motion, pose=pose, expression=torch.from_numpy(np.asarray(even.blendshapes, np.float32))[None])


def _codes(motion: Motion) -> tuple[Tensor, Tensor]:
    return motion.pose, motion.expression
