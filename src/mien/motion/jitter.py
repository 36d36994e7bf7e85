"""What a reader's jitter adds to a motion, taken out again without taking the motion itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.geometry.pose import HeadPose, rotation_matrix, rotation_vector
from mien.motion.keypoint_motion import EYES, LANDMARKS, FaceMotion, Floats

# The most that a filter takes for jitter. Measured on clips of 25 frames a second, second differences over the root of
# six: half of the reader's jitter is below .06 % of the outer eye corners' distance, .05 degrees and .002 of a
# blendshape, three quarters below .2 %, .1 degrees and .007.
_TURN = 0.25  # degrees
_PLACE = 0.002  # half sides of the square, about half a per cent of the eye corners' distance
_SIZE = 0.003  # natural logarithm
_BLENDSHAPE = 0.03


def without_jitter(
    values: NDArray[np.floating], deviation: float, most: float | NDArray[np.floating]
) -> NDArray[np.float64]:
    """Values over time, filtered by a Gaussian that changes each by no more than a limit; the ends are held.

    Jitter is small and goes to and fro from frame to frame; what is larger than the limit is motion, and stays.

    Args:
        values: [f, d], a row a frame.
        deviation: of the Gaussian, frames.
        most: the largest change, about three times the jitter, of all or of each column [d]; softly held.

    Returns:
        [f, d].
    """
    radius = int(np.ceil(3 * deviation))
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-(offsets**2) / (2 * deviation**2))
    at = np.clip(np.arange(len(values))[:, None] + offsets, 0, len(values) - 1)
    even = np.einsum("o,fod->fd", kernel / kernel.sum(), np.asarray(values, np.float64)[at])
    return np.asarray(values + most * np.tanh((even - values) / most))


def smoothed_motion(motions: list[FaceMotion], deviation: float = 0.7) -> list[FaceMotion]:
    """The same motions with everything that was read filtered over time against a reader's jitter, without delay.

    A Gaussian that may change what was read by no more than a reader's jitter: what a face does within a frame or
    two, such as a blink, is left to it. Rotations are averaged as matrices and made rotations again.

    Args:
        motions: one a frame.
        deviation: of the Gaussian, frames; 0 leaves the motions as they are.
    """
    if deviation <= 0 or len(motions) < 2:
        return motions
    turns = np.stack([rotation_matrix(motion.pose.rotation).ravel() for motion in motions])
    read = (
        (turns, np.radians(_TURN)),
        (np.stack([motion.pose.translation for motion in motions]), _PLACE),
        (np.log([[motion.pose.scale] for motion in motions]), _SIZE),
        (np.stack([motion.blendshapes for motion in motions]), _BLENDSHAPE),
        (np.stack([_seen(motion).ravel() for motion in motions]), _PLACE),
    )
    made = []
    rows = zip(*(without_jitter(values, deviation, most) for values, most in read), strict=True)
    for motion, (turn, place, size, blendshapes, seen) in zip(motions, rows, strict=True):
        pose = HeadPose(rotation_vector(turn.reshape(3, 3)), place, float(np.exp(size[0])))
        points = seen.reshape(-1, 2)
        pupils = None if motion.pupils is None else points[LANDMARKS:]
        made.append(FaceMotion(points[:LANDMARKS], pose, blendshapes, pupils=pupils))
    return made


def _seen(motion: FaceMotion) -> Floats:
    """Landmarks and pupils [70, 2]; unseen pupils, which nobody reads afterwards, amid their eyes."""
    amid = np.stack([motion.landmarks[list(eye)].mean(0) for eye in EYES])
    return np.concatenate([motion.landmarks, amid if motion.pupils is None else motion.pupils])
