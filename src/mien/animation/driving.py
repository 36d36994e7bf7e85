"""The driving video: one pass that reads its faces, one that cuts, aligns and patches its frames for the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import tee
from pathlib import Path

import numpy as np

from mien.animation.progress import Progress
from mien.animation.source import Portrait
from mien.errors import InputError
from mien.faces import FaceReader, FaceReading, FaceTracker, TrackedFace, TrackReport, fill_start
from mien.geometry import SquareCrop, align_frame, driver_alignment, driver_crop, local_patches
from mien.geometry.crops import DRIVER_SCALE
from mien.media import Clip, open_clip, part_of
from mien.motion.motion_limits import MotionLimits
from mien.motion.reference_frame import choose_best_frame

# Frames are cut out this many times larger than the model's picture where they have the pixels, so that an alignment
# which enlarges them does not blur.
_OVERSAMPLE = 2


@dataclass(frozen=True)
class DriverTrack:
    """A driving faces, a reading for each frame. best_frame: the frame that was laid over the portrait.

    anchor: the portrait's landmarks in the square; limits: how far from them the head may go; None: anywhere.
    """

    faces: list[TrackedFace]
    report: TrackReport
    best_frame: int | None
    crop: SquareCrop
    matrix: np.ndarray | None
    anchor: np.ndarray | None = None
    limits: MotionLimits | None = None

    def placement(self, landmarks: np.ndarray | None) -> np.ndarray | None:
        """The map from the driving square into the portrait's, softly held within the model's limits.

        Args:
            landmarks: of the frame [68, 2], 0 to 1 across the square; None: not read.

        Returns:
            [2, 3] in sides of the squares; None: nothing is aligned.
        """
        if self.matrix is None or self.limits is None or self.anchor is None or landmarks is None:
            return self.matrix
        placed = landmarks @ self.matrix[:, :2].T + self.matrix[:, 2]
        ways, zoom = self.limits.ways(), self.limits.zoom
        grown = np.log(_spread(placed) / _spread(self.anchor))
        scale = np.exp(zoom * np.tanh(grown / zoom) - grown)
        away = placed.mean(0) - self.anchor.mean(0)
        shift = np.where(away < 0, *ways)
        centre = self.anchor.mean(0) + shift * np.tanh(away / shift)
        # x -> centre + scale (matrix x - placed centre)
        return np.c_[scale * self.matrix[:, :2], centre + scale * (self.matrix[:, 2] - placed.mean(0))]


def _spread(landmarks: np.ndarray) -> float:
    """Size of a face by its brows, nose and eyes, which no expression moves far."""
    rigid = landmarks[17:48]
    return float(np.sqrt(((rigid - rigid.mean(0)) ** 2).sum(1).mean()))


def motion_of(driver: Path) -> tuple[Path, str | None] | None:
    """The motion library and the track that LIBRARY.safetensors#TRACK names.

    Args:
        driver: what was given as the driving video.

    Returns:
        The file, and the track or None if it names none; None for anything else, such as a video.
    """
    if driver.suffix.lower() == ".safetensors":
        return driver, None
    path, _, name = str(driver).rpartition("#")
    return (Path(path), name or None) if Path(path).suffix.lower() == ".safetensors" else None


def open_driver(
    driver: Path, *, start: float | None = None, end: float | None = None, fps: Fraction | None = None
) -> Clip:
    """Open a driving video, an image, a folder of images, or a track of a motion library.

    Args:
        driver: which.
        start: second to begin at.
        end: second to end at.
        fps: rate of the result.

    Raises:
        InputError: if it cannot be read.
    """
    motion = motion_of(driver)
    clip = open_clip(driver, fps=fps) if motion is None else _open_motion(*motion)
    first, last = (None if second is None else Fraction(str(second)) for second in (start, end))
    return part_of(clip, first, last, fps if clip.info.kind == "video" else None)


def _open_motion(library: Path, name: str | None) -> Clip:
    from mien.avatars.head_model import installed_pack, load_head_model
    from mien.avatars.motion_clip import MotionClip, choose_track

    track = choose_track(library, name)
    return MotionClip(library, track, load_head_model(installed_pack()))


def read_faces(
    clip: Clip,
    reader: FaceReader,
    progress: Progress,
    *,
    start: FaceReading | None = None,
    stage: str = "Reading the driving face",
) -> tuple[list[TrackedFace], TrackReport]:
    """One pass over the clip that keeps readings only.

    Args:
        clip: the frames.
        reader: of faces.
        progress: told how many frames are read.
        start: a reading near which the face is looked for at first, to choose one of several people.
        stage: the title of the pass.

    Returns:
        A face for every frame, each with a reading unless the clip shows no face at all; and how many were found.
    """
    tracker = FaceTracker(reader, start=start)
    faces: list[TrackedFace] = []
    progress.stage(stage, clip.info.frames)
    for image in clip:
        faces += tracker.push(image)
        progress.update(len(faces))
    faces += tracker.finish()
    return fill_start(faces), tracker.report


def place_driver(
    faces: list[TrackedFace],
    report: TrackReport,
    clip: Clip,
    portrait: Portrait,
    *,
    best_frame: int | str,
    align: bool,
    scale: float = DRIVER_SCALE,
    limits: MotionLimits | None = None,
) -> DriverTrack:
    """Choose the square, the frame that is most like the portrait, and the map that lays its face over the portrait's.

    Args:
        faces: of every frame.
        report: how they were read.
        clip: of which they are.
        portrait: over whose face they are laid.
        best_frame: the frame to lay over it; "auto": the one that is most like it.
        align: False: nothing is laid over anything.
        scale: how large the square is around the face where nothing is aligned (see `driver_crop`).
        limits: how far the head may wander in the square, for models that know heads near the middle only.

    Returns:
        The faces with all that.

    Raises:
        InputError: if no frame shows a face and alignment was wanted, or if best_frame is not a frame of the clip.
    """
    landmarks = (face.reading.landmarks if face.reading else None for face in faces)
    crop = driver_crop(landmarks, clip.info.width, clip.info.height, scale)
    if not align:
        return DriverTrack(faces, report, None, crop, None)
    if report.found == 0:
        raise InputError(
            f"no face was found in any frame of {clip.info.path}: use a driving video that shows one face, or"
            " --no-align to take the middle of its picture as it is"
        )
    chosen = _best_frame(faces, clip, portrait, best_frame)
    reading = faces[chosen].reading
    assert reading is not None  # where one face was found, `fill_start` has left no frame without a reading
    crop = _seen_square(crop, driver_alignment(portrait.landmarks, crop.points_in(reading.landmarks, 1)))
    matrix = driver_alignment(portrait.landmarks, crop.points_in(reading.landmarks, 1))
    return DriverTrack(faces, report, chosen, crop, matrix, portrait.landmarks, limits)


def _seen_square(crop: SquareCrop, matrix: np.ndarray) -> SquareCrop:
    """The square of the driving video's picture that holds all that the aligned square will show.

    The crop around the faces may be smaller: pixels beside it would be lost although the picture has them.
    """
    low, high = (crop.points_out((corner - matrix[:, 2]) / np.diag(matrix[:, :2]), 1) for corner in (0.0, 1.0))
    size = float((high - low).max())
    x, y = (low + high - size) / 2
    return SquareCrop(float(x), float(y), size)


def _best_frame(faces: list[TrackedFace], clip: Clip, portrait: Portrait, wanted: int | str) -> int:
    if isinstance(wanted, int):
        if wanted >= len(faces):
            raise InputError(f"--best-frame is {wanted}, but {clip.info.path} has {len(faces)} frames, counted from 0")
        return wanted
    # Only readings that were seen: a held or interpolated one belongs to a picture that nobody could read.
    return choose_best_frame(portrait.reading, (f.reading if f.state == "found" else None for f in faces))


def control_frames(clip: Clip, track: DriverTrack, side: int) -> tuple[Iterator[np.ndarray], Iterator[np.ndarray]]:
    """What the model sees of the driving video: aligned squares, and the same with all but eyes and mouth blank.

    Args:
        clip: its frames; they are held only between the two streams being asked for them.
        track: its faces, as they are placed.
        side: of the squares, pixels.

    Returns:
        Two streams of uint8 [side, side, 3].
    """
    whole, local = tee(_control_pairs(clip, track, side))
    return (pair[0] for pair in whole), (pair[1] for pair in local)


def _control_pairs(clip: Clip, track: DriverTrack, side: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    native = round(track.crop.size)
    cut = side if track.matrix is None else min(max(native, side), _OVERSAMPLE * side)
    for face, image in zip(track.faces, clip, strict=True):
        square = track.crop.extract(image, cut)
        landmarks = None if face.reading is None else track.crop.points_in(face.reading.landmarks, 1)
        matrix = track.placement(landmarks)
        if matrix is not None:
            square = align_frame(square, matrix, side)
            if landmarks is not None:
                landmarks = landmarks @ matrix[:, :2].T + matrix[:, 2]
        yield square, local_patches(square, None if landmarks is None else landmarks * side)
