"""A portrait as layers: a head that moves over a background that stands still, at the portrait's own size.

What moves is the head: the face as its keypoints say, hair and ears rigidly with it, the neck easing down to the still
body. The background is filled where the person hid it. Whatever neither the head leaves nor covers stays as it is, to
the pixel. The portrait is resampled once, however many flows its pixels have gone through.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.animation.cut_hair import CutHair
from mien.animation.head_flow import Box, HeadFlow, between
from mien.animation.painted_face import PaintedFace
from mien.geometry.face_window import FaceWindow, PaintedWindow, sample_smoothly
from mien.geometry.smooth import push_pull, smooth_step
from mien.typing import Picture

Floats = NDArray[np.floating]

_FILL_SIDE = 384  # pixels at which holes are filled
_MARGIN = 0.02  # of the longer side: how far the person's outline is widened before the background is filled
_STRANDS = 0.09  # of the longer side: how far from the person hair is looked for that the mask has missed
_PLAIN = 10.0  # levels by which a plain background differs from a smooth one, in the median
_TRACE = 25  # alpha from which on somebody may be seen
_ALPHA = (0.3, 0.7)  # of the person mask: surely background, surely person
_STILL, _MOVING = 0.35, 2.0  # pixels: below the first nothing has moved, beyond the second layers are laid anew
_BAND = 128  # rows that are made at a time: what is between portrait and result stays small
_SMALL = 256  # pixels: faces below are read by a kernel that costs three times as much
_WINDOW_STEPS = 32  # places a side at which the flow of a window is computed
_SEAM_COLUMNS = 4  # pixels between the columns at which it is where a mouth closes


@dataclass(frozen=True, eq=False)
class HeadLayer:
    """What is made once from a portrait.

    Attributes:
        image: uint8 [h, w, 3].
        keypoints: the portrait's own, [70, 2] pixels.
        alpha: uint8 [h, w], 255 on the person; None: there are no layers, the whole picture is bent.
        background: uint8 [h, w, 3], filled behind the person.
        hole: uint8 [h, w], 255 where it is filled.
    """

    image: Picture
    keypoints: Floats
    alpha: NDArray[np.uint8] | None = None
    background: Picture | None = None
    hole: NDArray[np.uint8] | None = None

    @classmethod
    def cut(
        cls, image: Picture, person: Floats | None, keypoints: Floats, *, hidden: Floats | None = None
    ) -> HeadLayer:
        """Cut a person out.

        Args:
            image: the portrait, RGB uint8 [h, w, 3].
            person: a person mask's answer [h, w] in [0, 1]; None: no layers.
            keypoints: 68 landmarks and two pupils [70, 2], pixels.
            hidden: the mask of everybody, whose pixels must not be taken for background; None: `person`.
        """
        points = np.asarray(keypoints, np.float64)
        if person is None:
            return cls(image, points)
        everybody = person if hidden is None else hidden
        traces = [np.asarray(np.clip(one, 0, 1) * 255, np.uint8) for one in (person, everybody)]
        background, hole = filled_background(image, *traces)
        return cls(image, points, _opaque(person), background, hole)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.image.shape[1], self.image.shape[0]

    @cached_property
    def _method(self) -> int:
        """How the picture's pixels are read: small faces lose a third of their grain to a cubic kernel."""
        small = np.ptp(self.keypoints[:68], axis=0).max() < _SMALL
        return cv2.INTER_LANCZOS4 if small else cv2.INTER_CUBIC

    @property
    def layered(self) -> bool:
        """Whether head and background are apart."""
        return self.alpha is not None

    def flow(self, driven: Floats) -> HeadFlow:
        """How the picture moves with its keypoints.

        Args:
            driven: where they go [70, 2], pixels.

        Returns:
            The flow from the moved picture back to this one.
        """
        return HeadFlow(self.keypoints, driven, self.size, everything=not self.layered)

    def moved_window(self, driven: Floats, window: FaceWindow, side: int) -> Picture:
        """What the moved portrait shows in a window, background and all.

        Args:
            driven: where the keypoints go [70, 2], pixels.
            window: of the driven face.
            side: of the result, pixels.

        Returns:
            uint8 [side, side, 3].
        """
        places = _window_places(self.flow(driven), window, side)
        return sample_smoothly(self.image, places, side / (2 * window.half))

    def frame(
        self,
        driven: Floats,
        window: FaceWindow | None = None,
        painted: PaintedWindow | None = None,
        canvas: Picture | None = None,
    ) -> Picture:
        """The picture with its head moved, and its face painted.

        Args:
            driven: keypoints [70, 2], pixels.
            window: where `painted` lies in the result.
            painted: what a model made of the moved face; None: it is merely moved.
            canvas: what is seen where this person neither is nor was, [h, w, 3]: the picture in which others have
                moved already; None: the portrait itself.

        Returns:
            uint8 [h, w, 3].
        """
        flow = self.flow(driven)
        made = (self.image if canvas is None else canvas).copy()
        left, top, right, bottom = flow.box(self.alpha, self.hole)
        face = None
        if window is not None and painted is not None:
            face = PaintedFace(window, painted, _window_places(flow, window, painted.share.shape[0]), self.image)
            left, top, right, bottom = _around((left, top, right, bottom), face.box, self.size)
        hair = CutHair(flow, self.keypoints, self.size, self.alpha)
        for first in range(top, bottom, _BAND):
            self._lay(made, (left, first, right, min(first + _BAND, bottom)), flow, hair, face)
        return made

    def _lay(self, made: Picture, band: Box, flow: HeadFlow, hair: CutHair, face: PaintedFace | None) -> None:
        """Make one band of the result in its place."""
        left, top, right, bottom = band
        inside = (slice(top, bottom), slice(left, right))
        places = flow.away(band)
        far = cv2.magnitude(places[..., 0], places[..., 1])
        if face is not None:
            face.bend(places, band)
        places[..., 0] += np.arange(left, right, dtype=np.float32)
        places[..., 1] += np.arange(top, bottom, dtype=np.float32)[:, None]
        places = hair.draw_out(places, left, top)
        shown = cv2.remap(self.image, places, None, self._method, borderMode=cv2.BORDER_REFLECT)
        if face is not None:
            face.lay_over(shown, band)
        if self.alpha is None or self.background is None or self.hole is None:
            made[inside] = shown
            return
        # nobody is beyond the border but for hair that it cuts, which is drawn out
        alpha = cv2.remap(self.alpha, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        alpha = alpha * np.float32(1 / 255)
        emptied = smooth_step((far - _STILL) / (_MOVING - _STILL)).astype(np.float32) * (self.hole[inside] > 0)
        under = np.ascontiguousarray(made[inside])
        under = cv2.blendLinear(np.ascontiguousarray(self.background[inside]), under, emptied, 1 - emptied)
        made[inside] = cv2.blendLinear(shown, under, alpha, 1 - alpha)


def _window_places(flow: HeadFlow, window: FaceWindow, side: int) -> NDArray[np.float32]:
    """Where the pixels of a moved window come from, [side, side, 2], pixels of the portrait."""
    coarse, places = window.places(_WINDOW_STEPS), window.places(side)
    away = cv2.resize(flow.origin(coarse) - coarse, (side, side), interpolation=cv2.INTER_LINEAR)
    for closing in flow.closing:
        part = closing.grid_slice(places)
        if part is not None:  # row by row, for across the seam of closing lips and lids nothing is smooth
            away[part] = _row_by_row(flow, places[part])
    return np.asarray(away + places, np.float32)


def _row_by_row(flow: HeadFlow, places: Floats) -> NDArray[np.float32]:
    """How far off places [h, w, 2] come from: at every row, and at every few columns with all others between them."""
    width = places.shape[1]
    if width <= _SEAM_COLUMNS:
        return np.asarray(flow.origin(places) - places, np.float32)
    columns = np.append(np.arange(0.0, width - 1, _SEAM_COLUMNS), width - 1.0)
    spots = places[:, columns.astype(int)]
    found = np.ascontiguousarray((flow.origin(spots) - spots).swapaxes(0, 1), np.float32)
    return between(found, columns, np.arange(float(width))).swapaxes(0, 1)


def _around(one: Box, other: Box, size: tuple[int, int]) -> Box:
    """The box around two boxes, an empty one counting for nothing, as far as the picture goes."""
    boxes = [box for box in (one, other) if box[2] > box[0] and box[3] > box[1]]
    if not boxes:
        return 0, 0, 0, 0
    corners = np.array(boxes)
    low, high = np.maximum(corners[:, :2].min(0), 0), np.minimum(corners[:, 2:].max(0), size)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _opaque(person: Floats) -> NDArray[np.uint8]:
    """A person mask's answer in [0, 1] as alpha, 0 to 255: background and person are sure."""
    low, high = _ALPHA
    return np.asarray(np.clip((np.asarray(person, np.float32) - low) * (255 / (high - low)) + 0.5, 0, 255), np.uint8)


def filled_background(
    image: Picture, alpha: NDArray[np.uint8], hidden: NDArray[np.uint8]
) -> tuple[Picture, NDArray[np.uint8]]:
    """The background with what a person hides filled smoothly from around it.

    Args:
        image: [h, w, 3].
        alpha: how sure a mask is of the person, [h, w], 0 to 255.
        hidden: the same of everybody, from whom nothing is taken, [h, w].

    Returns:
        uint8 [h, w, 3], and where it is filled, uint8 [h, w].
    """
    height, width = alpha.shape
    zoom = min(1.0, _FILL_SIDE / max(height, width))
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    masks = [cv2.resize(mask, size, interpolation=cv2.INTER_AREA) for mask in (alpha, np.maximum(alpha, hidden))]
    person, taken = (_widened(mask > _TRACE, _MARGIN * max(size)) for mask in masks)
    known = ~taken
    if not known.any():
        return image, np.zeros_like(alpha)
    hole = person | _strands(small, person, taken)
    filled = cv2.GaussianBlur(push_pull(small.astype(np.float32), (known & ~hole).astype(np.float32)), (0, 0), 2)
    soft = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), max(_MARGIN * max(size) / 3, 0.5))
    weight = cv2.resize(np.maximum(soft, person), (width, height), interpolation=cv2.INTER_LINEAR)
    large = cv2.resize(np.clip(filled + 0.5, 0, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    made = cv2.blendLinear(large, np.ascontiguousarray(image), weight, 1 - weight)
    return made, np.asarray(weight * 255 + 0.5, np.uint8)


def _widened(mask: NDArray[np.bool_], margin: float) -> NDArray[np.bool_]:
    """A mask and what is within `margin` pixels of it."""
    steps = max(1, round(margin))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * steps + 1, 2 * steps + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def _strands(small: Picture, person: NDArray[np.bool_], taken: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Hair beside a person that the mask has missed: what stands out near it, if the background there is plain.

    Args:
        small: a picture [h, w, 3].
        person: where the mask has the person [h, w].
        taken: where it has anybody.

    Returns:
        [h, w].
    """
    beside = _widened(person, _STRANDS * max(person.shape)) & ~taken
    further = ~_widened(taken | beside, 1)
    if not beside.any() or not further.any():
        return np.zeros_like(person)
    plain = cv2.GaussianBlur(push_pull(small.astype(np.float32), further.astype(np.float32)), (0, 0), 2)
    away = np.abs(small - plain).max(-1)
    usual = float(np.median(away[beside]))
    if usual > _PLAIN:
        return np.zeros_like(person)
    return _widened(beside & (away > 3 * usual + 4), 2)
