"""What is measured on readings of faces: expression, head pose, gaze, how things move, and how shakily."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mien.faces import EXPRESSION_NAMES, FaceReading
from mien.geometry.pose import rotation_vector

Track = Sequence[FaceReading | None]
Floats = NDArray[np.float64]

# A signal that varies less than this over a clip (standard deviation) says nothing about motion.
STILL_DEGREES, STILL_SHAPE = 1.5, 0.03
_LEAST_FRAMES = 8
_CLOSED = 0.5  # blink above which no gaze is read

_INDEX = {name: number for number, name in enumerate(EXPRESSION_NAMES)}
_BLINK = [_INDEX["eyeBlinkLeft"], _INDEX["eyeBlinkRight"]]


def aed(driver: FaceReading, result: FaceReading) -> float:
    """Average expression distance: mean absolute difference of the 52 ARKit blendshapes, in [0, 1]."""
    return float(np.abs(driver.expression - result.expression).mean())


def landmark_error(ground_truth: FaceReading, result: FaceReading) -> float:
    """Mean distance of the 68 landmarks, per cent of the ground truth's distance of outer eye corners."""
    corners = ground_truth.landmarks[36] - ground_truth.landmarks[45]
    apart = np.linalg.norm(ground_truth.landmarks - result.landmarks, axis=1)
    return float(100 * apart.mean() / np.linalg.norm(corners))


def apd(driver: FaceReading, result: FaceReading) -> float:
    """Average pose distance: (geodesic angle in radians + |dt|_1 + |d log s|) / 3; our own definition."""
    one, two = driver.pose, result.pose
    turn = float(np.linalg.norm(rotation_vector(one.matrix().T @ two.matrix())))
    shift = float(np.abs(np.asarray(one.translation) - np.asarray(two.translation)).sum())
    zoom = abs(float(np.log(one.scale) - np.log(two.scale)))
    return (turn + shift + zoom) / 3


def pose_degrees(driver: FaceReading, result: FaceReading) -> float:
    """Mean absolute difference of yaw, pitch and roll, degrees."""
    apart = np.abs(angles(driver) - angles(result))
    return float(np.minimum(apart, 360 - apart).mean())


def angles(reading: FaceReading) -> Floats:
    """Yaw, pitch, roll [3], degrees."""
    return np.array([reading.pose.yaw, reading.pose.pitch, reading.pose.roll])


def gaze(reading: FaceReading) -> Floats:
    """Gaze of the left and the right eye [2, 2]: to the subject's left and up, each in [-1, 1], in blendshapes."""

    def shape(name: str) -> float:
        return float(reading.expression[_INDEX[name]])

    def across(out: str, back: str) -> float:
        return shape(out) - shape(back)

    return np.array(
        [
            [across("eyeLookOutLeft", "eyeLookInLeft"), across("eyeLookUpLeft", "eyeLookDownLeft")],
            [across("eyeLookInRight", "eyeLookOutRight"), across("eyeLookUpRight", "eyeLookDownRight")],
        ]
    )


def gaze_error(driver: FaceReading, result: FaceReading) -> float | None:
    """Mean distance of both eyes' gaze, in [0, 2.83]; None where somebody's eyes are closed."""
    if max(driver.expression[_BLINK].max(), result.expression[_BLINK].max()) > _CLOSED:
        return None
    return float(np.linalg.norm(gaze(driver) - gaze(result), axis=1).mean())


def per_frame(
    measure: Callable[[FaceReading, FaceReading], float | None], driver: Track, result: Track
) -> list[float | None]:
    """`measure` for every frame in which both faces were found, None for the others."""
    return [None if one is None or two is None else measure(one, two) for one, two in zip(driver, result, strict=True)]


def pose_correlation(driver: Track, result: Track) -> float | None:
    """Pearson correlation, mean of those of yaw, pitch and roll that move in the driving video; None if none does."""
    pairs = _both(driver, result)
    if len(pairs) < _LEAST_FRAMES:
        return None
    one = np.stack([angles(a) for a, _ in pairs])
    two = np.stack([angles(b) for _, b in pairs])
    return _correlation(one, two, STILL_DEGREES)


def expression_correlation(driver: Track, result: Track) -> float | None:
    """Pearson correlation, mean of those blendshapes that move in the driving video; None if none does."""
    pairs = _both(driver, result)
    if len(pairs) < _LEAST_FRAMES:
        return None
    one = np.stack([a.expression for a, _ in pairs]).astype(np.float64)
    two = np.stack([b.expression for _, b in pairs]).astype(np.float64)
    return _correlation(one, two, STILL_SHAPE)


def _correlation(driver: Floats, result: Floats, still: float) -> float | None:
    moving = np.flatnonzero(driver.std(0) >= still)
    if len(moving) == 0:
        return None
    found = []
    for column in moving:
        a, b = driver[:, column] - driver[:, column].mean(), result[:, column] - result[:, column].mean()
        norms = float(np.linalg.norm(a) * np.linalg.norm(b))
        found.append(float(a @ b) / norms if norms > 1e-9 else 0.0)  # what does not move does not follow
    return float(np.mean(found))


def motion_amount(pose_driver: Track, expression_driver: Track, result: Track) -> float | None:
    """How much the result moves for each unit of the driving video; None where nothing moves in the driving video.

    Standard deviations of the three angles and of the blendshapes, summed each, result over driving video, mean of the
    two. What does not move in the driving video is left out.

    Args:
        pose_driver: of whom the pose comes.
        expression_driver: of whom the expression comes.
        result: the system's answer.
    """
    ratios = []
    for driver, read, still in (
        (pose_driver, angles, STILL_DEGREES),
        (expression_driver, _shapes, STILL_SHAPE),
    ):
        pairs = _both(driver, result)
        if len(pairs) < 2:
            return None
        spreads = [np.stack([read(pair[side]) for pair in pairs]).std(0) for side in (0, 1)]
        moving = spreads[0] >= still
        if moving.any():
            ratios.append(float(spreads[1][moving].sum() / spreads[0][moving].sum()))
    return float(np.mean(ratios)) if ratios else None


def _shapes(reading: FaceReading) -> Floats:
    return np.asarray(reading.expression, np.float64)


def jitter(track: Track) -> float | None:
    """Mean absolute second difference of the 68 landmarks, in face widths; None for less than three faces.

    Frames without a face are passed over.
    """
    known = [reading.landmarks for reading in track if reading is not None]
    if len(known) < 3:
        return None
    points = np.stack(known).astype(np.float64)
    width = float(np.ptp(points[:, :, 0], axis=1).mean())
    return float(np.abs(np.diff(points, n=2, axis=0)).mean() / width)


def jitter_ratio(driver: Track, result: Track) -> float | None:
    """`jitter` of the result over that of the driving video; None if the driving video has none at all.

    Args:
        driver: frames in which the result shows no face are passed over.
        result: frames in which the driving video shows no face are passed over.
    """
    pairs = _both(driver, result)
    one, two = jitter([a for a, _ in pairs]), jitter([b for _, b in pairs])
    return None if one is None or two is None or one < 1e-9 else two / one


def _both(driver: Track, result: Track) -> list[tuple[FaceReading, FaceReading]]:
    return [(a, b) for a, b in zip(driver, result, strict=True) if a is not None and b is not None]
