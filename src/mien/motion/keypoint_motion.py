"""From readings of two faces to where the first one's keypoints go when it moves like the second.

Keypoints are the 68 landmarks and two pupils, the one of the eye 36 to 41 first. Where a reader does not see pupils
they are placed by the blendshapes of the eyes' directions, between the person's own lids.

As in Face Vid2Vid (Wang, Mallya, Liu, CVPR 2021, equation 1), keypoints are x_k = R x_c,k + t + delta_k with canonical
keypoints x_c from the source alone; delta is here a linear function of the 52 blendshapes, and a scale s is kept
apart: x_k = s (R (x_c,k + sum_j e_j E_j,k))_xy + t. Identity stays the source's by construction.

Lengths: half face heights in the head's frame, half sides of the square in the picture (see `mien.geometry.pose`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.geometry.pose import HeadPose
from mien.geometry.smooth import smooth_step

Floats = NDArray[np.floating]

LANDMARKS = 68  # of the keypoints, the others are pupils
KEYPOINTS = LANDMARKS + 2
EYES = (range(36, 42), range(42, 48))  # the subject's right one first

# Upper and lower rim of both eyes' openings and of the inner lips (iBUG 68): pairs that may meet and never cross.
EYE_RIMS = (((37, 41), (38, 40)), ((43, 47), (44, 46)))
_LIPS = ((61, 67), (62, 66), (63, 65))
_OUTER_LIPS = ((50, 58), (51, 57), (52, 56))  # what goes with them
_OPENNESS = (0.6, 2.0)
_JAW_AND_MOUTH, _LIP_CORNERS = [*range(3, 14), *range(48, 68)], [48, 54]
JAW_OPEN = 24  # among the 52 blendshapes, `mien.faces.EXPRESSION_NAMES`
BLINKS = (9, 8)  # of the right and the left eye, as `EYES` are
_UPPER_LID = 0.85  # of a blink, the lower lid does the rest
_PARTED = (0.03, 0.09)  # half face heights by which lips stand apart: merely parted, and because the jaw is open


@dataclass(frozen=True, eq=False)
class FaceBasis:
    """How the keypoints of a mean head move with blendshapes; lengths are half face heights in the head's frame.

    Attributes:
        mean: keypoints of the neutral mean head [70, 3].
        shapes: displacements [52, 70, 3] by blendshapes that are 1.
    """

    mean: Floats
    shapes: Floats

    def moved(self, blendshapes: Floats) -> NDArray[np.float64]:
        """What an expression adds to the neutral keypoints.

        Args:
            blendshapes: [52] in [0, 1].

        Returns:
            Displacement [70, 3], half face heights.
        """
        moved: NDArray[np.float64] = np.tensordot(np.asarray(blendshapes, np.float64), self.shapes, 1)
        return moved


@dataclass(frozen=True, eq=False)
class FaceMotion:
    """One face in one square picture.

    Attributes:
        landmarks: [68, 2], half sides of the square.
        pose: turn, and scale and place in the same picture.
        blendshapes: [52] in [0, 1].
        extra: displacement of keypoints [70, 3] beyond the blendshapes', see `mien.motion.landmark_residual`.
        pupils: [2, 2], half sides, where they were seen.
    """

    landmarks: Floats
    pose: HeadPose
    blendshapes: Floats
    extra: Floats | None = None
    pupils: Floats | None = None

    @classmethod
    def read(cls, landmarks: Floats, rotation: Floats, blendshapes: Floats, pupils: Floats | None = None) -> FaceMotion:
        """From what a reader says of a square picture.

        Args:
            landmarks: [68, 2], sides of the square, 0 to 1.
            rotation: axis-angle [3], radians.
            blendshapes: [52] in [0, 1].
            pupils: [2, 2], sides of the square, where they were seen.
        """
        places = np.asarray(landmarks, np.float64)
        pose, looking = HeadPose.from_landmarks(rotation, places, 1, 1), None
        if pupils is not None:
            looking = np.asarray(pupils, np.float64) * 2 - 1
        return cls(places * 2 - 1, pose, np.asarray(blendshapes, np.float64), pupils=looking)


class KeypointMotion:
    """A source face, ready to be driven (Face Vid2Vid, equation 1; see the module).

    Attributes:
        canonical: the person's own neutral keypoints [70, 3], half face heights in the head's frame.
        opened: how far the picture shows the jaw open beyond what its blendshapes say [70, 3], the same.
    """

    def __init__(self, basis: FaceBasis, source: FaceMotion) -> None:
        """Take the person's shape off the source picture.

        Args:
            basis: how keypoints move with blendshapes.
            source: the face in the source picture.
        """
        self.basis, self.source = basis, source
        pose = source.pose
        neutral = basis.mean + basis.moved(source.blendshapes)
        expected = (pose.scale * (neutral @ pose.matrix().T)[:, :2] + pose.translation)[:LANDMARKS]
        # what the mean head leaves unexplained is this person's shape, as far as the picture shows it
        away = (source.landmarks - expected) / pose.scale
        away = np.concatenate([away, [away[list(eye)].mean(0) for eye in EYES]])  # pupils go with their eyes
        shown = basis.mean + np.column_stack([away, np.zeros(len(away))]) @ pose.matrix()
        self.opened = opened_jaw(basis, shown)
        self.canonical = shown - self.opened
        self.eye_gains = _eye_gains(basis.mean, self.canonical)

    @property
    def shown(self) -> NDArray[np.float64]:
        """The person's neutral keypoints with the jaw as open as the picture shows it [70, 3], as `canonical`."""
        return self.canonical + self.opened

    @property
    def keypoints(self) -> NDArray[np.float32]:
        """The source's own keypoints [70, 2], half sides."""
        own = self.posed(self.source.pose, self.source.blendshapes)
        own[:LANDMARKS] = self.source.landmarks
        if self.source.pupils is not None:
            own[LANDMARKS:] = self.source.pupils
        return own

    def pose_of(self, driver: FaceMotion, reference: FaceMotion | None = None) -> HeadPose:
        """The pose that the source takes on by a driving video.

        Args:
            driver: the driving face.
            reference: the driving face in the frame that was laid over the source: place and size then count
                from there, because two heads that overlay each other need not have one origin. None: its own place and
                size.

        Returns:
            Turn, place and size, half sides.
        """
        place, scale = driver.pose.translation, driver.pose.scale
        if reference is not None:
            zoom = self.source.pose.scale / reference.pose.scale
            place = self.source.pose.translation + (place - reference.pose.translation) * zoom
            scale = scale * zoom
        return HeadPose(driver.pose.rotation, place, scale)

    def posed(self, pose: HeadPose, blendshapes: Floats, extra: Floats | None = None) -> NDArray[np.float32]:
        """The source's keypoints in a pose and expression.

        Measured lips open from closed ones: with `extra` the source's own jaw and lips are shut first, however it shows
        them. Without it they stay open as far as blendshapes do not tell; a face without expression is `neutral`.

        Args:
            pose: turn, place and size.
            blendshapes: [52] in [0, 1].
            extra: displacement [70, 3] beyond the blendshapes', half face heights.

        Returns:
            [70, 2], half sides.
        """
        moved = self.basis.moved(blendshapes)
        if extra is None:
            return self._seen(pose, self.shown + self.fitted(moved))
        return self._seen(pose, closed_lips(self.canonical) + self.fitted(moved + extra))

    def with_lids(self, blendshapes: Floats, own: FaceMotion) -> NDArray[np.float64]:
        """Extra displacement with which a commanded blink shuts its eye, and that one alone.

        Blendshapes that are read of a video say so much less than its landmarks that the basis has a blink of 1 leave
        half of the gap, and take both eyes along, for people seldom wink. Where there are no landmarks that is made up.

        Args:
            blendshapes: commanded [52] in [0, 1].
            own: the source's, with its own extra displacement.

        Returns:
            [70, 3], half face heights, for `posed`.
        """
        extra = np.zeros_like(self.canonical) if own.extra is None else np.array(own.extra, np.float64)
        still = np.array(blendshapes, np.float64)
        still[list(BLINKS)] = own.blendshapes[list(BLINKS)]
        if np.array_equal(still, blendshapes):
            return extra
        there, before = (
            closed_lips(self.canonical) + self.fitted(self.basis.moved(s) + extra) for s in (blendshapes, still)
        )
        for side, blink in enumerate(BLINKS):
            shut = float(blendshapes[blink] - own.blendshapes[blink])
            if shut < 0:
                continue
            rest = _gap(there, EYE_RIMS[side]) - max(_gap(before, EYE_RIMS[side]), 0.0) * (1 - min(shut, 1.0))
            for high, low in EYE_RIMS[side]:
                extra[high, 1] += _UPPER_LID * rest / self.eye_gains[side]
                extra[low, 1] -= (1 - _UPPER_LID) * rest / self.eye_gains[side]
        return extra

    def neutral(self, pose: HeadPose) -> NDArray[np.float32]:
        """The source's keypoints in a pose, without expression.

        Args:
            pose: turn, place and size.

        Returns:
            [70, 2], half sides.
        """
        return self._seen(pose, self.canonical)

    @staticmethod
    def _seen(pose: HeadPose, head: NDArray[np.float64]) -> NDArray[np.float32]:
        seen = pose.scale * (uncrossed(np.array(head)) @ pose.matrix().T)[:, :2] + pose.translation
        return seen.astype(np.float32)

    def fitted(self, moved: Floats) -> NDArray[np.float64]:
        """A mean head's displacement for this person: lids that must travel further do so.

        Args:
            moved: [70, 3], half face heights.

        Returns:
            [70, 3].
        """
        own = np.array(moved, np.float64)
        for eye, gain in zip(EYES, self.eye_gains, strict=True):
            own[list(eye)] *= gain
        return own


def eye_opening(points: Floats, side: int) -> float:
    """How far an eye is open.

    Args:
        points: landmarks [68 or more, 2].
        side: 0: the subject's right eye, 1: the left.

    Returns:
        Mean gap between its lids, in widths of the eye.
    """
    eye = EYES[side]
    width = np.linalg.norm(points[eye[3]] - points[eye[0]])
    gap = np.mean([np.linalg.norm(points[low] - points[high]) for high, low in EYE_RIMS[side]])
    return float(gap / max(width, 1e-6))


def _gap(points: Floats, pairs: tuple[tuple[int, int], ...]) -> float:
    """Mean height between rims of points [70, 3]; y points down."""
    return float(np.mean([points[low, 1] - points[high, 1] for high, low in pairs]))


def _eye_gains(mean: Floats, canonical: Floats) -> tuple[float, float]:
    """How much more open than the mean the person's eyes are: lids must travel as much further to meet."""
    left, right = (np.clip(_gap(canonical, pairs) / max(_gap(mean, pairs), 1e-6), *_OPENNESS) for pairs in EYE_RIMS)
    return float(left), float(right)


def opened_jaw(basis: FaceBasis, points: Floats) -> NDArray[np.float64]:
    """What a jaw has moved that is open though blendshapes do not say so: they hardly tell a shout from a wide mouth.

    A jaw takes the corners of the mouth down. Lips that are merely parted, as many people's are, and those of drawings,
    which readers see apart, do not.

    Args:
        basis: how keypoints move with blendshapes.
        points: keypoints without the expression that blendshapes tell [70, 3], half face heights in the head's frame.

    Returns:
        Displacement of jaw and mouth [70, 3], half face heights in the head's frame; 0 elsewhere.
    """
    moved = np.zeros_like(basis.mean)
    jaw = basis.shapes[JAW_OPEN]
    most, lowest = _gap(jaw, _LIPS), float(jaw[_LIP_CORNERS, 1].mean())
    if most > _PARTED[1] and lowest > 0:
        wide = max(_gap(points, _LIPS) - _gap(basis.mean, _LIPS), 0.0)
        low = max(float((points - basis.mean)[_LIP_CORNERS, 1].mean()), 0.0)
        open_ = wide / most * smooth_step(np.asarray((wide - _PARTED[0]) / (_PARTED[1] - _PARTED[0])))
        moved[_JAW_AND_MOUTH] = jaw[_JAW_AND_MOUTH] * min(float(open_), low / lowest, 1.0)
    return np.asarray(moved, np.float64)


def mean_shape(shapes: Sequence[KeypointMotion]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One person's shape from many frames: what is left unexplained differs from frame to frame, the person does not.

    Args:
        shapes: of the person's face in some frames, at least one.

    Returns:
        Neutral keypoints, and what a jaw moves of them that is open throughout [70, 3] each, half face heights in the
        head's frame.
    """
    shown = np.asarray(np.mean([shape.shown for shape in shapes], 0), np.float64)
    opened = opened_jaw(shapes[0].basis, shown)
    return shown - opened, opened


def closed_lips(points: Floats) -> NDArray[np.float64]:
    """Keypoints whose lips meet: each inner pair half way, the outer rims with them.

    Args:
        points: keypoints [70, 3].

    Returns:
        [70, 3].
    """
    shut = np.array(points, np.float64)
    for inner, outer in zip(_LIPS, _OUTER_LIPS, strict=True):
        half = (shut[inner[1], 1] - shut[inner[0], 1]) / 2
        for high, low in (inner, outer):
            shut[high, 1] += half
            shut[low, 1] -= half
    return shut


def uncrossed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points [70, 3] whose upper rims do not lie below the lower ones."""
    for high, low in (*EYE_RIMS[0], *EYE_RIMS[1], *_LIPS):
        if points[high, 1] > points[low, 1]:
            points[[high, low]] = points[[high, low]].mean(0)
    return points
