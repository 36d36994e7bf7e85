"""Hair that a picture's border cuts, when the head moves away from that border: it is drawn out, not seen to end."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.animation.head_flow import HeadFlow

Floats = NDArray[np.floating]

_DRAWN_OUT = 0.7  # of the way from the border to the landmarks: what is drawn out, and never the face below it
_LEAST = 0.15  # of its size that hair has at the border, at least
_STEPS = 96  # places along a border at which the flow is computed
_SOFT = 0.015  # of the border's length: how softly drawn-out hair meets what is not cut


@dataclass(frozen=True, eq=False)
class _Border:
    """One border.

    Attributes:
        axis: 0 for left and right, 1 for top and bottom.
        far: whether it is right or bottom.
        gap: [n], how far beyond it pixels of the result at it would come from.
        cut: [n], whether somebody is seen there, 0 to 1.
        depth: of what is drawn out, pixels.
    """

    axis: int
    far: bool
    gap: NDArray[np.float32]
    cut: NDArray[np.float32]
    depth: float


class CutHair:
    """The four borders of a picture whose head moves."""

    def __init__(
        self, flow: HeadFlow, keypoints: Floats, size: tuple[int, int], alpha: NDArray[np.uint8] | None
    ) -> None:
        """Look along the borders.

        Args:
            flow: of the head.
            keypoints: of the face before it moves [70, 2], pixels.
            size: width and height of the picture.
            alpha: where the person is [h, w], 0 to 255; None: everywhere.
        """
        low, high = keypoints[:68].min(0), keypoints[:68].max(0)
        self._borders, self._size = [], size
        for axis in (0, 1):
            for far in (False, True):
                room = size[axis] - high[axis] if far else low[axis]
                border = _look(flow, size, alpha, axis, far, float(max(_DRAWN_OUT * room, 2.0)))
                if border is not None:
                    self._borders.append(border)

    def draw_out(self, places: NDArray[np.float32], left: int, top: int) -> NDArray[np.float32]:
        """Let what lies beyond a border come from hair before it.

        Args:
            places: indices [h, w, 2] (x, y) from which pixels of a part of the result come; changed where they lie.
            left: of that part, pixels.
            top: the same.

        Returns:
            places.
        """
        height, width = places.shape[:2]
        for border in self._borders:
            along = slice(left, left + width) if border.axis else slice(top, top + height)
            gap, cut = border.gap[along], border.cut[along]
            if not ((gap > 0) & (cut > 0)).any():
                continue
            gap, cut = (one[None] if border.axis else one[:, None] for one in (np.maximum(gap, 0), cut))
            last = np.float32(self._size[border.axis] - 1)
            line = last - places[..., border.axis] if border.far else places[..., border.axis]
            near = line < border.depth
            if near.any():
                line = np.where(near, line + cut * (_drawn_out(line, gap, border.depth) - line), line)
                places[..., border.axis] = last - line if border.far else line
        return places


def _look(
    flow: HeadFlow, size: tuple[int, int], alpha: NDArray[np.uint8] | None, axis: int, far: bool, depth: float
) -> _Border | None:
    """A border beyond which pixels of somebody would come from; None where there are none."""
    length, across = size[1 - axis], size[axis]
    steps = np.linspace(0, length - 1, min(_STEPS, length))
    spots = np.full((len(steps), 2), float(across) - 0.5 if far else 0.5)
    spots[:, 1 - axis] = steps + 0.5
    origins = flow.origin(spots) - 0.5
    beyond = origins[:, axis] - (across - 1) if far else -origins[:, axis]
    if beyond.max() <= 0:
        return None
    gap = np.interp(np.arange(length), steps, beyond).astype(np.float32)
    cut = np.ones(length, np.float32)
    if alpha is not None:
        seen = alpha[:, -1 if far else 0] if axis == 0 else alpha[-1 if far else 0]
        soft = cv2.GaussianBlur(seen.astype(np.float32)[None] / 255, (0, 0), max(_SOFT * length, 0.5))[0]
        came = np.interp(np.arange(length), steps, np.clip(origins[:, 1 - axis], 0, length - 1))
        cut = np.interp(came, np.arange(length), soft).astype(np.float32)
    return _Border(axis, far, gap, cut, depth)


def _drawn_out(line: NDArray[np.float32], gap: NDArray[np.float32], depth: float) -> NDArray[np.float32]:
    """Ways from the border: from -gap to `depth` they become 0 to `depth`, smoothly going over into what is left."""
    part = np.clip((line + gap) / (depth + gap), 0, 1)
    first = np.maximum(1 - gap / depth, _LEAST)
    return np.asarray(depth * part * (first + (1 - first) * part), np.float32)
