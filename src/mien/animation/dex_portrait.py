"""DeX-Portrait as an `Animator`: head pose and expression apart, as codes, each from a driving video of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from mien.animation.animator import Animator
from mien.animation.config import GAINS, AnimationConfig
from mien.animation.driving import read_faces
from mien.animation.driving_motion import Driver, Drivers, DrivingMotion
from mien.animation.motion_template import MotionTemplate
from mien.animation.person_run import PersonRun
from mien.animation.progress import SILENT, Progress
from mien.animation.source import Portrait
from mien.errors import InputError
from mien.faces import FaceReader, TrackReport
from mien.geometry import driver_crop
from mien.media import Clip
from mien.models.dex_portrait import Gains, Motion, Pose
from mien.models.dex_portrait.driving import limited_motion, nearest_pose, smooth_motion
from mien.pipelines.dex_portrait import DeXPortraitPipeline

_LARGEST_SIDE = 512  # of the squares that the encoders' pictures are made from
_LEAST_SIDE = 256  # of the portrait's square: the encoders read more than a small model's picture


@dataclass(frozen=True)
class DeXPortraitMotion(DrivingMotion):
    """pose, expression: codes of every frame, at the main driving video's rate; None: the portrait's own is kept."""

    pose: Motion | None
    expression: Motion | None


class DeXPortraitAnimator(Animator):
    """See `Animator`."""

    system = "dex"
    refuses = ("fast", "start_from", "align", "smooth", *GAINS)
    why = (
        "is for models that take pose and expression together, such as nano: leave it out with {model}, which has"
        " --pose-gain for the head and --expression-gain, one code for the whole expression"
    )

    @property
    def portrait_side(self) -> int:
        """Side of the portrait's square, pixels."""
        return max(int(self.pipe.image_size), _LEAST_SIDE)

    def _set_portrait(self, portraits: Sequence[Portrait]) -> None:
        squares = [portrait.square(self.portrait_side) for portrait in portraits]
        self.pipe.set_portrait(squares, portraits[0].landmarks)

    def read_driving(
        self, driver: Driver | Drivers, config: AnimationConfig, progress: Progress = SILENT
    ) -> DeXPortraitMotion:
        """See `Animator.read_driving`."""
        drivers = driver if isinstance(driver, Drivers) else Drivers(driver, driver)
        if self.source.video is not None:
            raise InputError("a video as a source needs a model that moves by read landmarks, such as nano")
        main = drivers.main
        read: dict[int, Motion] = {}
        reports: dict[str, TrackReport] = {}
        for one in (drivers.pose, drivers.expression):
            if isinstance(one, MotionTemplate):
                read[id(one)] = one.motion
            elif one is not None and id(one) not in read:
                read[id(one)], reports[one.info.path.name] = read_clip_motion(one, self.reader, self.pipe, progress)
        pose = None if drivers.pose is None else read[id(drivers.pose)]
        expression = None if drivers.expression is None else read[id(drivers.expression)]
        best = None
        if pose is not None:
            best = self._start_frame(pose, config, drivers.pose)
            pose = replace(pose, reference=best)
        rate, timed = main.info.rate, []
        for motion, of in ((pose, drivers.pose), (expression, drivers.expression)):
            if motion is not None and of is not None:
                timed.append((motion, rate if len(motion) == 1 else of.info.rate))
        count = min((_frames_at(rate, motion, own) for motion, own in timed if len(motion) > 1), default=1)
        fitted = {id(motion): at_rate(motion, own, rate, count) for motion, own in timed}
        return DeXPortraitMotion(
            main if isinstance(main, Clip) else None,
            main.info,
            count,
            reports,
            best,
            pose=None if pose is None else fitted[id(pose)],
            expression=None if expression is None else fitted[id(expression)],
        )

    def _start_frame(self, pose: Motion, config: AnimationConfig, driver: Driver | None) -> int:
        """The frame that motion counts from: the one whose head is turned most like the portrait's."""
        wanted = config.best_frame
        if isinstance(wanted, int):
            if wanted >= len(pose):
                name = "the driving video" if driver is None else driver.info.path
                raise InputError(f"--best-frame is {wanted}, but {name} has {len(pose)} frames, counted from 0")
            return wanted
        return nearest_pose(Pose.from_code(self.pipe.portrait.pose), Pose.from_code(pose.pose))

    def _squares(self, run: PersonRun) -> Iterator[np.ndarray]:
        motion: DeXPortraitMotion = run.motion
        pose = self.placed_pose(run.person, motion, run.config)
        return self.squares_by_codes(pose, motion.expression, motion.frames, run.config, **run.telling)

    def placed_pose(self, person: Portrait, motion: DeXPortraitMotion, config: AnimationConfig) -> Motion | None:
        """The driving poses as a person's head is to take them over, within the model's limits.

        Args:
            person: whose head.
            motion: as it was read.
            config: relative motion is limited later, by the pipeline.

        Returns:
            Codes of every frame; None: the portrait keeps its own pose.
        """
        pose, limits = motion.pose, self.limits(person, config)
        if pose is not None and person is not self.source.portraits[0] and config.best_frame == "auto":
            pose = replace(pose, reference=self._start_frame(pose, config, None))
        if pose is not None and limits is not None and not config.relative:  # the pipeline limits relative motion
            pose = limited_motion(Pose.from_code(self.pipe.portrait.pose), pose, limits)
        return pose

    def squares_by_codes(
        self, pose: Motion | None, expression: Motion | None, frames: int, config: AnimationConfig, **more: Any
    ) -> Iterator[np.ndarray]:
        """Squares uint8 [s, s, 3] for codes that may come from anywhere; only relative motion is limited.

        Args:
            pose: None: the portrait's own.
            expression: the same.
            frames: how many.
            config: how to animate.
            more: further options of the pipeline's `stream`.
        """
        gains = Gains(config.pose_gain, config.expression_gain, config.relative)
        guidance = "progressive" if config.progressive else "plain"
        stream: Iterator[np.ndarray] = self.pipe.stream(
            pose, expression, frames=frames, gains=gains, guidance=guidance, **self.sampling(config), **more
        )
        return stream


def _frames_at(rate: Fraction, motion: Motion, own: Fraction) -> int:
    """How many frames of the main rate a motion lasts."""
    return max(1, math.floor(len(motion) * rate / own))


def at_rate(motion: Motion, own: Fraction, rate: Fraction, count: int) -> Motion:
    """A motion at another rate: of each frame the nearest one.

    Args:
        motion: as it was read; a still is left as it is.
        own: its frames a second.
        rate: those that are wanted.
        count: frames of the result.

    Returns:
        The motion; its reference frame is kept beside the frames that are played.
    """
    if len(motion) == 1 or (own == rate and len(motion) == count):
        return motion
    rows = [min(math.floor(index * own / rate + Fraction(1, 2)), len(motion) - 1) for index in range(count)]
    # the frame that relative motion starts from may not be among them: it is appended, and not played
    chosen = torch.tensor([*rows, motion.reference])
    return Motion(motion.pose[chosen], motion.expression[chosen], count)


def read_clip_motion(
    clip: Clip, reader: FaceReader, pipe: DeXPortraitPipeline, progress: Progress
) -> tuple[Motion, TrackReport]:
    """Codes of every frame: two passes, one for the faces, one for the encoders; only readings and codes are kept.

    The head is measured in one square for the whole clip. Frames whose face was not found have codes between those of
    their neighbours.

    Args:
        clip: the driving video.
        reader: of faces.
        pipe: whose encoders read it.
        progress: told how many frames are read, of each pass.

    Returns:
        The codes, smoothed, and how the faces were read.

    Raises:
        InputError: if no frame shows a face.
    """
    faces, report = read_faces(clip, reader, progress)
    if report.found == 0:
        raise InputError(f"no face was found in any frame of {clip.info.path}: use a video that shows one face")
    landmarks = [None if face.reading is None else face.reading.landmarks for face in faces]
    crop = driver_crop(landmarks, clip.info.width, clip.info.height, pipe.crop_scale)
    side = int(min(max(round(crop.size), pipe.pose_encoder.config.size), _LARGEST_SIDE))
    seen = [face.index for face in faces if face.state == "found"]

    def frames() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for face, image in zip(faces, clip, strict=True):
            if face.state == "found" and face.reading is not None:
                yield crop.extract(image, side), crop.points_in(face.reading.landmarks, 1)

    progress.stage("Reading the driving video's motion", len(seen))
    read = pipe.read_motion(frames(), progress=progress.update)
    moments, known = np.arange(len(faces)), np.array(seen)
    pose, expression = (_between(moments, known, codes) for codes in (read.pose, read.expression))
    return smooth_motion(Motion(pose, expression)), report


def _between(moments: np.ndarray, known: np.ndarray, codes: torch.Tensor) -> torch.Tensor:
    """Codes at all moments from those at the known ones: linear between them, held at both ends."""
    if len(known) == len(moments):
        return codes
    columns = [np.interp(moments, known, column) for column in codes.T.numpy()]
    return torch.from_numpy(np.stack(columns, 1).astype(np.float32))
