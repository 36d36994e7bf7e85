"""A video as the source: every frame of it is animated, and background and body stay its own."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.animation.driven_face import DrivenFace, FaceMover, driving_faces
from mien.animation.driving import DriverTrack, read_faces
from mien.animation.motion_transfer import TransferSettings, square_motion, taken_over
from mien.animation.progress import Progress
from mien.animation.source import Portrait
from mien.errors import InputError
from mien.faces import FaceReader, TrackReport
from mien.geometry import SquareCrop, portrait_crop
from mien.media import Clip, evened, part_of
from mien.motion.jitter import smoothed_motion
from mien.motion.keypoint_motion import (
    FaceBasis,
    FaceMotion,
    Floats,
    KeypointMotion,
    mean_shape,
)
from mien.motion.landmark_residual import MeasuredFace

_CALM = 0.2  # seconds; deviation of the Gaussian over the way of the square
_SAMPLES = 200  # frames at most of which the person's own shape is the mean


def matched(source: Clip, driver: Clip) -> tuple[Clip, Clip, tuple[str, ...]]:
    """Source and driving video frame for frame, at the driving video's rate and as long as the shorter one.

    Args:
        source: a video.
        driver: the driving video.

    Returns:
        Both, and a sentence where one was cut.

    Raises:
        InputError: if the driving video is a picture.
    """
    rate = driver.info.rate
    if driver.info.kind == "image":
        raise InputError(
            f"the source {source.info.path} is a video, but the driving video {driver.info.path} is a picture, which"
            " does not move: if they were swapped, give the picture with -s and the video with -d"
        )
    source, driver = evened(source, rate), evened(driver)
    frames = min(source.count(), driver.count())
    said: tuple[str, ...] = ()
    if source.count() != driver.count():
        shorter, longer = sorted((source, driver), key=lambda clip: clip.count())
        said = (
            f"{shorter.info.path} ends after {float(frames / rate):.2f} seconds, {longer.info.path} after"
            f" {float(longer.count() / rate):.2f}: the result is as long as the shorter one",
        )
    return part_of(source, end=frames / rate), part_of(driver, end=frames / rate), said


def first_portrait(clip: Clip, reader: FaceReader, face: int | None) -> Portrait:
    """The first frame that shows the face, as the portrait.

    Args:
        clip: the source video.
        reader: of faces.
        face: its number, the largest is 0; None: the clearest.

    Returns:
        The frame with its reading.

    Raises:
        InputError: if no frame shows it.
    """
    for image in clip:
        if face is None:
            reading = reader.read(image)
        else:
            faces = reader.read_all(image)
            reading = faces[face] if face < len(faces) else None
        if reading is not None:
            crop = portrait_crop(reading.landmarks, clip.info.width, clip.info.height)
            return Portrait(clip.info.path, image, reading, crop)
    wanted = "no face" if face is None else f"no face {face} (they count from 0, the largest first)"
    raise InputError(f"{wanted} was found in any frame of {clip.info.path}: use a video that shows one, or a picture")


@dataclass(frozen=True)
class SourceVideo:
    """The person in a video. crops: the square of every frame; motions: the face in it; nothing else is held.

    The driving video may be shorter, not longer.
    """

    clip: Clip
    crops: list[SquareCrop]
    motions: list[FaceMotion]
    report: TrackReport

    @classmethod
    def read(cls, clip: Clip, portrait: Portrait, reader: FaceReader, scale: float, progress: Progress) -> SourceVideo:
        """Read the face of every frame in one pass over the clip.

        Args:
            clip: the source video.
            portrait: its first frame with the face, near which the face is looked for.
            reader: of faces.
            scale: how large the square is around the face, see `portrait_crop`.
            progress: told how many frames are read.

        Returns:
            The video with a square and a motion for each frame.
        """
        faces, report = read_faces(clip, reader, progress, start=portrait.reading, stage="Reading the source's face")
        readings = [face.reading or portrait.reading for face in faces]
        crops = calm_crops([reading.landmarks for reading in readings], clip, scale)
        motions = [square_motion(reading, crop) for crop, reading in zip(crops, readings, strict=True)]
        return cls(clip, crops, smoothed_motion(motions), report)

    def driven_faces(
        self, portrait: Portrait, track: DriverTrack, basis: FaceBasis, control: TransferSettings
    ) -> tuple[list[DrivenFace], list[Floats]]:
        """The face in every frame with the driving pose and expression.

        Args:
            portrait: the first frame.
            track: the driving faces, laid over the portrait's.
            basis: of keypoints.
            control: gains, smoothing, relative or not.

        Returns:
            One a frame; and its own keypoints [70, 2] in each, pixels.
        """
        motions, reference = self._taken_over(portrait, track, basis, control)
        shape, (faces, own) = self._shape(basis), (list[DrivenFace](), list[Floats]())
        driving = driving_faces(portrait, track, basis)
        for crop, seen, motion, driver in zip(self.crops, self.motions, motions, driving, strict=False):
            mover = FaceMover(basis, seen, crop)
            own.append(mover.keypoints)
            # one shape for the whole clip: what is left unexplained differs from frame to frame, the person does not
            mover.shape.canonical, mover.shape.opened, mover.shape.eye_gains = shape
            faces.append(mover.driven(motion, reference, driver))
        return faces, own

    def _taken_over(
        self, portrait: Portrait, track: DriverTrack, basis: FaceBasis, control: TransferSettings
    ) -> tuple[list[FaceMotion], FaceMotion | None]:
        """The driving video's motions as this person takes them over, see `taken_over`."""
        measured = MeasuredFace(basis)
        measured.learn(self.motions)
        return taken_over(portrait, track, basis, control, [measured.of(motion) for motion in self.motions])

    def _shape(self, basis: FaceBasis) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float]]:
        """The person's neutral keypoints and what an open jaw moves of them [70, 3], and both eyes' gains."""
        step = max(1, len(self.motions) // _SAMPLES)
        shapes = [KeypointMotion(basis, motion) for motion in self.motions[::step]]
        left, right = (fmean(shape.eye_gains[eye] for shape in shapes) for eye in (0, 1))
        return *mean_shape(shapes), (left, right)


def calm_crops(landmarks: list[np.ndarray], clip: Clip, scale: float) -> list[SquareCrop]:
    """A square of one size for every frame that follows the face softly, so that neither pumps nor trembles.

    Args:
        landmarks: [68, 2] of each frame, pixels.
        clip: of which they are.
        scale: side of the square over the face, see `portrait_crop`; the median over the frames counts.

    Returns:
        One a frame, within the picture where it fits.
    """
    width, height = clip.info.width, clip.info.height
    crops = [portrait_crop(points, width, height, scale=scale) for points in landmarks]
    size = float(np.median([crop.size for crop in crops]))
    middles = np.array([[crop.x + crop.size / 2, crop.y + crop.size / 2] for crop in crops], np.float64)
    deviation = max(_CALM * float(clip.info.rate), 1e-3)
    calm = cv2.GaussianBlur(
        middles, (1, 2 * round(3 * deviation) + 1), 1, sigmaY=deviation, borderType=cv2.BORDER_REPLICATE
    )
    corners = calm - size / 2
    inside = [
        np.clip(corners[:, axis], 0, length - size) if size <= length else corners[:, axis]
        for axis, length in ((0, width), (1, height))
    ]
    return [SquareCrop(float(x), float(y), size) for x, y in zip(*inside, strict=True)]
