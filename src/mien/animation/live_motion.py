"""Where a portrait's keypoints go by the face of a camera's frame: `motion_transfer` for one frame after the other."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from mien.animation.driven_face import DrivenFace, FaceMover, Performance, out_of, pupils_in_eyes
from mien.animation.driving import DriverTrack
from mien.animation.frame_stepper import LiveControl, LiveFrame
from mien.animation.motion_transfer import TransferSettings, driver_motions, own_face, portrait_motion, transferred
from mien.animation.source import Portrait
from mien.errors import InputError
from mien.faces import FaceReading, TrackedFace, TrackReport
from mien.geometry import HeadPose, driver_alignment, driver_crop
from mien.motion.keypoint_motion import FaceBasis, FaceMotion, Floats, KeypointMotion, opened_jaw
from mien.motion.landmark_residual import MeasuredFace
from mien.motion.motion_limits import MotionLimits
from mien.motion.one_euro import LiveFilter

_SHAPES = 200  # frames over which a driver's own shape is averaged, the latest ones counting most


class LiveMotion:
    """A portrait whose keypoints follow the faces that are read of a camera.

    What a clip gives from all of its frames is learned here from those so far: the driving person's own neutral
    face, which `calibrate` begins anew.
    """

    def __init__(self, portrait: Portrait, basis: FaceBasis, scale: float, limits: MotionLimits | None) -> None:
        """Take a portrait.

        Args:
            portrait: with its square.
            basis: the model's.
            scale: how large the driving video's square is around its face (see `driver_crop`).
            limits: how far the head may wander.
        """
        self._mover = FaceMover(basis, portrait_motion(portrait), portrait.crop)
        self.keypoints = self._mover.shape
        self._own = own_face(self.keypoints)
        self._portrait, self._scale, self._limits = portrait, scale, limits
        self._track: DriverTrack | None = None
        self._filter = LiveFilter()

    def calibrate(self, frame: LiveFrame) -> None:
        """See `FrameStepper.calibrate`."""
        height, width = frame.image.shape[:2]
        crop = driver_crop([frame.reading.landmarks], width, height, self._scale)
        laid = driver_alignment(self._portrait.landmarks, crop.points_in(frame.reading.landmarks, 1))
        # the frame is of a report of its own: nothing is counted here
        self._track = DriverTrack([], TrackReport(), 0, crop, laid, self._portrait.landmarks, self._limits)
        self._reference = self._read(frame.reading)
        self._measured = MeasuredFace(self.keypoints.basis)
        self._measured.learn([self._reference])
        self._filter.restart()
        self._shape, self._shapes = np.zeros_like(self.keypoints.canonical), 0

    def face(self, frame: LiveFrame, control: LiveControl) -> DrivenFace:
        """Where the portrait's face goes for a frame, and where the frame's own is.

        Args:
            frame: of the camera, with its face.
            control: gains and smoothing, and what the sliders add.

        Returns:
            Keypoints in the portrait's picture and in the frame.

        Raises:
            InputError: before anything was calibrated.
        """
        pose, blendshapes, extra = self._followed(frame, control)
        places, neutral = self._mover.placed(pose, blendshapes, extra)
        shown = Performance.of(pose, self._own.blendshapes, blendshapes)
        return DrivenFace(pupils_in_eyes(places), neutral, self._driving(frame), shown)

    def _driving(self, frame: LiveFrame) -> Floats:
        """The frame's own face in its pose without expression, pixels; its shape is the mean since `calibrate`."""
        track = self._seen(frame.reading)
        motion = driver_motions(self._portrait, replace(track, matrix=None))[0]
        self._shapes = min(self._shapes + 1, _SHAPES)
        seen = KeypointMotion(self.keypoints.basis, motion)
        self._shape = self._shape + (seen.shown - self._shape) / self._shapes
        pose, shape = motion.pose, self._shape - opened_jaw(self.keypoints.basis, self._shape)
        return out_of(track.crop, pose.scale * (shape @ pose.matrix().T)[:, :2] + pose.translation)

    def _followed(self, frame: LiveFrame, control: LiveControl) -> tuple[HeadPose, Floats, Floats | None]:
        """Pose, blendshapes [52] and extra displacement [70, 3] that the portrait takes on."""
        config, change = control.config, control.change
        motion = self._read(frame.reading)
        self._measured.learn([motion])
        motion, reference = self._measured.of(motion), self._measured.of(self._reference)
        motion = self._filter(motion, config.smooth, frame.seconds)
        gains = TransferSettings.of(config, Fraction(25)).gains
        motion = transferred([motion], self._own, reference, gains, self._limits)[0]
        pose = change.moved(self.keypoints.pose_of(motion, reference))
        blendshapes = change.expressed(motion.blendshapes) if change.expresses else motion.blendshapes
        return pose, blendshapes, motion.extra

    def _read(self, reading: FaceReading) -> FaceMotion:
        return driver_motions(self._portrait, self._seen(reading))[0]

    def _seen(self, reading: FaceReading) -> DriverTrack:
        """A driving video of this one frame, laid over the portrait."""
        if self._track is None:
            raise InputError("no face of the camera was laid over the portrait's: call calibrate first")
        return replace(self._track, faces=[TrackedFace(0, reading, "found")])
