"""The upright square around a face in which expressions are painted, and how pictures are laid into it.

Points are pixels of a picture, the first one's centre at (0.5, 0.5). Keypoints are 68 landmarks (iBUG) and two pupils.
A window depends on where the face would be *without expression*, so that it stands still while a mouth opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.geometry.moving_least_squares import moving_least_squares
from mien.geometry.pose import HeadPose, rotation_vector
from mien.geometry.smooth import smooth_step

Floats = NDArray[np.floating]

# Landmarks that no expression moves: jaw beside the ears, nose, corners of the eyes.
RIGID = (*range(5), *range(12, 17), *range(27, 36), 36, 39, 42, 45)
_HALF, _LOWER = 0.65, 0.05  # half side and shift down, of the larger extent of the neutral landmarks
_FLOW_STEPS = 32768  # to a half side, in packed flows: a 340th of a pixel of a window of 192
_GREY = 127.5  # 0 for the networks
_FINE = 0.7  # pixels of a sample over a picture's, from which on nothing is averaged
_COARSE = 28  # places a side at which a map is computed; it is smooth between them
# What a driver is laid over a portrait by: of the lips only corners and middle, so that mouths keep the driver's shape.
# the jaw's points, what they are beside of where they are seen, and on which side; by how much, extents of the face
_BESIDE = (
    *((slice(5), (36, 48), -1), (slice(5, 6), (48,), -1)),
    *((slice(12, 17), (45, 54), 1), (slice(11, 12), (54,), 1)),
)
_RIM_OF_FACE = 0.03
_EYE_CORNERS = (36, 45)
_FACE, _LIP_CORNERS, _LIPS = slice(0, 48), (48, 54), slice(48, 68)


@dataclass(frozen=True, eq=False)
class FaceWindow:
    """A square that is turned with a face.

    In the window's own coordinates the square is [-1, 1] x [-1, 1], x along the eyes, y down the face.

    Attributes:
        centre: [2], pixels of the picture.
        along: unit vector along the eyes [2], to the picture's right in an upright face.
        half: half its side, pixels.
    """

    centre: Floats
    along: Floats
    half: float

    @classmethod
    def around(cls, neutral: Floats) -> FaceWindow:
        """The window of a face.

        Args:
            neutral: landmarks [68 or more, 2], pixels, of the face in its pose without expression.
        """
        points = np.asarray(neutral, np.float64)
        eyes, jaw = points[45] - points[36], points[16] - points[0]
        along = eyes / max(np.linalg.norm(eyes), 1e-6) + jaw / max(np.linalg.norm(jaw), 1e-6)
        along = along / max(np.linalg.norm(along), 1e-6)
        axes = np.stack([along, [-along[1], along[0]]])
        own = points[:68] @ axes.T
        low, high = own.min(0), own.max(0)
        extent = max(float((high - low).max()), 1.0)
        centre = ((low + high) / 2 + [0, _LOWER * extent]) @ axes
        return cls(centre, along, _HALF * extent)

    @property
    def axes(self) -> NDArray[np.float64]:
        """Rows: the unit vectors along the eyes and down the face, [2, 2]."""
        return np.stack([self.along, [-self.along[1], self.along[0]]])

    def places(self, side: int) -> NDArray[np.float32]:
        """Where the pixels of a window's picture lie in the whole one.

        Args:
            side: of the window's picture, pixels.

        Returns:
            [side, side, 2] (x, y), pixels.
        """
        steps = ((np.arange(side) + 0.5) / side * 2 - 1) * self.half
        grid = self.centre + steps[None, :, None] * self.axes[0] + steps[:, None, None] * self.axes[1]
        return np.asarray(grid, np.float32)

    def inside(self, points: Floats) -> NDArray[np.float32]:
        """Points of the picture in the window's coordinates.

        Args:
            points: [..., 2], pixels.

        Returns:
            [..., 2], within [-1, 1] where they lie inside.
        """
        return np.asarray((points - self.centre) @ self.axes.T / self.half, np.float32)

    def head(self, pose: HeadPose) -> HeadPose:
        """A head as it is seen in the window.

        Args:
            pose: its translation and scale are pixels of the picture.

        Returns:
            Translation and scale in the window's coordinates, turned as the window shows it.
        """
        upright = np.eye(3)
        upright[:2, :2] = self.axes
        turn = rotation_vector(upright @ pose.matrix())
        return HeadPose(turn, self.inside(pose.translation).astype(np.float64), pose.scale / self.half)

    def matrix(self, side: int, zoom: float = 1.0) -> NDArray[np.float64]:
        """The affine map of pixel indices from the picture to a picture of the window.

        Args:
            side: of the window's picture, pixels.
            zoom: by which the picture was enlarged before.

        Returns:
            [2, 3].
        """
        linear = self.axes * (side / (2 * self.half * zoom))
        shift = side / 2 - linear @ (np.asarray(self.centre) * zoom)
        return np.column_stack([linear, shift + linear @ [0.5, 0.5] - 0.5])


@dataclass(frozen=True, eq=False)
class PaintedWindow:
    """What a model does to a moved portrait in its face window: bends it, and paints over it.

    The finished window is (1 - share) * (the moved portrait at x + flow(x)) + share * paint.

    Attributes:
        paint: uint8 [s, s, 3].
        share: float32 [s, s] in [0, 1], how much of a pixel is painted; 0 at the window's border.
        flow: float32 [s, s, 2], (x, y) in half sides of the window; 0 at its border.
    """

    paint: NDArray[np.uint8]
    share: NDArray[np.float32]
    flow: NDArray[np.float32]

    def packed(self) -> NDArray[np.uint8]:
        """As one array [3 s, s, 3] of bytes, one below the other: the paint, share, the flow's 16 bits (x, y)."""
        steps = np.clip(np.round(self.flow * _FLOW_STEPS), -32768, 32767).astype(np.int32) + 32768
        share = np.round(np.clip(self.share, 0, 1) * 255)
        high, low = steps >> 8, steps & 255
        more = np.stack([share, high[..., 0], high[..., 1]], -1), np.stack([low[..., 0], low[..., 1], 0 * share], -1)
        return np.concatenate([self.paint, *(one.astype(np.uint8) for one in more)])

    @classmethod
    def unpacked(cls, packed: NDArray[np.uint8]) -> PaintedWindow:
        """What `packed` gave."""
        side = packed.shape[1]
        paint, high, low = packed[:side], packed[side : 2 * side].astype(np.int32), packed[2 * side :].astype(np.int32)
        steps = (high[..., 1:] << 8) + low[..., :2] - 32768
        return cls(paint, (high[..., 0] / 255).astype(np.float32), (steps / _FLOW_STEPS).astype(np.float32))

    def laid_over(self, moved: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The finished window, uint8 [s, s, 3], from the moved portrait in it."""
        side = len(moved)
        rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
        half = side / 2
        x, y = columns + self.flow[..., 0] * half, rows + self.flow[..., 1] * half
        bent = cv2.remap(moved, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mixed = bent + (self.paint.astype(np.float32) - bent) * self.share[..., None]
        return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def sample(image: NDArray[np.uint8], places: Floats) -> NDArray[np.uint8]:
    """Read a picture at places, bilinearly; beyond it, its border.

    Args:
        image: [h, w, c].
        places: [n, m, 2] (x, y), pixels.

    Returns:
        [n, m, c].
    """
    x, y = (np.ascontiguousarray(places[..., axis] - 0.5, np.float32) for axis in (0, 1))
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), image.dtype)


def sample_smoothly(image: NDArray[np.uint8], places: Floats, scale: float) -> NDArray[np.uint8]:
    """`sample`, with what is finer than the result averaged first.

    Args:
        image: the picture [h, w, c].
        places: [n, m, 2] (x, y) in it.
        scale: pixels of the result over those of the picture, about.
    """
    if scale > _FINE:
        return sample(image, places)
    height, width = image.shape[:2]
    low = np.clip(np.floor(places.min((0, 1)) - 2 / scale), 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(places.max((0, 1)) + 2 / scale), low + 1, [width, height]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    size = np.maximum(np.round((high - low) * scale), 1).astype(int)
    smaller = cv2.resize(part, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    return sample(smaller, (places - low) * (size / (high - low)))


def warp_into(
    window: FaceWindow,
    image: NDArray[np.uint8],
    there: Floats,
    here: Floats,
    side: int,
    weights: Floats | None = None,
) -> NDArray[np.uint8]:
    """A picture moved so that its points lie where a window's points are, cut out as that window.

    Args:
        window: of the picture that the result belongs to.
        image: the picture that is moved, [h, w, c].
        there: points [k, 2] in `image`.
        here: the same points [k, 2] in the window's picture.
        side: of the result, pixels.
        weights: how much each point counts, [k] in [0, 1]; None: all alike.

    Returns:
        [side, side, c].
    """
    coarse = window.places(_COARSE)
    away = moving_least_squares(here, there, coarse, weights) - coarse
    fine = cv2.resize(away, (side, side), interpolation=cv2.INTER_LINEAR) + window.places(side)
    # how large the face is in the other picture
    zoom = float(np.ptp(here, axis=0).max() / max(np.ptp(there, axis=0).max(), 1e-6))
    return sample_smoothly(image, fine, zoom * side / (2 * window.half))


def rectified_driver(
    window: FaceWindow, frame: NDArray[np.uint8], driving: Floats, driven: Floats, side: int
) -> NDArray[np.uint8]:
    """The driving frame, laid over the portrait's face as if both had the same proportions.

    Both faces are matched by where they would be *without expression*; so whatever the driving face does, lids,
    gaze, lips, teeth, tongue, wrinkles, is seen at the place where the portrait's must do it.

    Args:
        window: the portrait's, in its driven pose.
        frame: the driving frame, uint8 [h, w, 3].
        driving: the driving face's neutral landmarks [68 or more, 2] in its pose, pixels of `frame`.
        driven: the portrait's neutral landmarks [68 or more, 2] in the driven pose, pixels of the portrait.
        side: of the result, pixels.

    Returns:
        uint8 [side, side, 3].
    """
    weights = (in_sight(driving) * in_sight(driven))[_FACE]
    weights = np.concatenate([weights, np.ones(3)])  # of the lips
    return warp_into(window, frame, _anchors(driving), _anchors(driven), side, weights)


def in_sight(keypoints: Floats) -> Floats:
    """How far keypoints [68 or more, 2] are in sight: as many weights in [0, 1].

    In three-quarter view readers put the far side of the jaw behind the face, amid eye, nose and mouth. What is seen
    there is not the jaw, and would be torn if it were moved with it.
    """
    weights = np.ones(len(keypoints))
    along = keypoints[_EYE_CORNERS[1]] - keypoints[_EYE_CORNERS[0]]
    across = keypoints[:68] @ (along / max(float(np.linalg.norm(along)), 1e-6))
    rim = _RIM_OF_FACE * max(float(np.ptp(keypoints[:68], axis=0).max()), 1e-6)
    for jaw, corners, sign in _BESIDE:
        edge = max(sign * across[corner] for corner in corners)
        weights[jaw] = smooth_step((sign * across[jaw] - edge) / rim)
    return weights


def _anchors(points: Floats) -> Floats:
    return np.concatenate([points[_FACE], points[list(_LIP_CORNERS)], points[_LIPS].mean(0, keepdims=True)])


_Box = tuple[slice, float, float, float]
# Boxes around eyes and mouth: landmarks, half width and height and shift down, in widths of the part; their soft rim.
_BOXES = (
    (slice(36, 42), 1.0, 0.85, -0.1),
    (slice(42, 48), 1.0, 0.85, -0.1),
    (slice(48, 68), 0.85, 0.75, 0.15),
)
# The same for what each part's expression changes: eyes with their lids, brows with the forehead, mouth with the chin.
_PARTS = (
    ((slice(36, 42), 1.25, 1.05, -0.1), (slice(42, 48), 1.25, 1.05, -0.1)),
    ((slice(17, 27), 0.75, 0.3, -0.05),),
    ((slice(48, 68), 1.2, 1.1, 0.2),),
)
_RIM = 0.15
_OPENINGS = (slice(36, 42), slice(42, 48), slice(60, 68))  # of the landmarks: lids, inner lips
_SOFT = 0.01  # windows: by how much the openings are wider, and how soft


def eyes_and_mouth(neutral: Floats, side: int) -> NDArray[np.float32]:
    """Where eyes and mouth are, softly, [side, side] in [0, 1]: what the local control is shown of a driving frame.

    neutral: the face's landmarks without expression [68 or more, 2], in the window's coordinates.
    """
    return _boxes_around(_BOXES, neutral, side)


def changed_parts(neutral: Floats, amounts: tuple[float, float, float], side: int) -> NDArray[np.float32]:
    """Where eyes, brows and mouth are, with lids and chin, softly.

    Args:
        neutral: the face's landmarks without expression [68 or more, 2], in the window's coordinates.
        amounts: how much eyes, brows and mouth count, each in [0, 1].
        side: of the result, pixels.

    Returns:
        [side, side] in [0, 1].
    """
    parts = [amount * _boxes_around(boxes, neutral, side) for amount, boxes in zip(amounts, _PARTS, strict=True)]
    return np.asarray(np.maximum.reduce(parts), np.float32)


def opened_parts(faces: Iterable[Floats], side: int) -> NDArray[np.float32]:
    """What lies between the lids or between the lips of any of some faces, softly.

    Args:
        faces: landmarks [68 or more, 2] each, in the window's coordinates.
        side: of the result, pixels.

    Returns:
        [side, side] in [0, 1].
    """
    mask, soft = np.zeros((side, side), np.uint8), max(1.0, _SOFT * side)
    for keypoints, part in product(faces, _OPENINGS):
        rim = np.clip((keypoints[part] + 1) / 2, -1, 2) * side * 16
        cv2.fillPoly(mask, [rim.round().astype(np.int32)], 255, shift=4)
    wide = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(soft) + 1,) * 2))
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), soft) / np.float32(255), np.float32)


def _boxes_around(boxes: Sequence[_Box], neutral: Floats, side: int) -> NDArray[np.float32]:
    mask = np.zeros((side, side), np.float32)
    for inside, share in _soft_boxes(boxes, neutral, side):
        np.maximum(mask[inside], share, out=mask[inside])
    return mask


def _soft_boxes(
    boxes: Sequence[_Box], neutral: Floats, side: int
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.float32]]]:
    """Each box's rows and columns of a picture [side, side], and its share there; beyond them it has none."""
    steps = (np.arange(side) + 0.5) / side * 2 - 1
    for part, wide, high, down in boxes:
        points = neutral[part]
        width = np.ptp(points[:, 0])
        x, y = points.mean(0) + [0, down * width]
        across = np.clip((1 - np.abs(steps - x) / (wide * width)) / _RIM, 0, 1)
        along = np.clip((1 - np.abs(steps - y) / (high * width)) / _RIM, 0, 1)
        columns, rows = np.flatnonzero(across), np.flatnonzero(along)
        if len(columns) and len(rows):
            inside = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            yield inside, (along[inside[0], None] * across[inside[1]]).astype(np.float32)


def local_view(driver: NDArray[np.uint8], neutral: Floats) -> NDArray[np.uint8]:
    """A rectified driving frame [s, s, 3] with all but eyes and mouth grey, see `eyes_and_mouth`."""
    share, view = eyes_and_mouth(neutral, len(driver))[..., None], np.full(driver.shape, int(_GREY + 0.5), np.uint8)
    for inside, _ in _soft_boxes(_BOXES, neutral, len(driver)):
        view[inside] = (driver[inside] - _GREY) * share[inside] + _GREY + 0.5
    return view
