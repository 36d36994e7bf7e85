"""A painted face window, laid into the picture that it belongs to at the picture's own resolution."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.animation.head_flow import Box
from mien.geometry.face_window import FaceWindow, PaintedWindow
from mien.typing import Picture

_STRAIGHT = 0.02  # pixels; a window that bends less bends nothing
_BARE = 1 / 255  # share; a window that paints less paints nothing
_FINE = 0.75  # the picture's pixels over the window's, below which the window is averaged first


class PaintedFace:
    """One frame's window, ready to be laid into bands of the picture."""

    def __init__(self, window: FaceWindow, painted: PaintedWindow, places: NDArray[np.float32]) -> None:
        """Set up.

        Args:
            window: where it lies in the picture.
            painted: what the model made.
            places: where the moved window's pixels came from, [s, s, 2], pixels of the portrait.
        """
        side = painted.share.shape[0]
        self._window = window
        self._bent = _bent(painted.flow, places, window)
        self._paint = np.ascontiguousarray(painted.paint)
        self._share = np.ascontiguousarray(painted.share, np.float32)
        smaller = round(2 * window.half)
        if smaller < _FINE * side:
            size = (max(smaller, 8),) * 2
            self._paint = cv2.resize(self._paint, size, interpolation=cv2.INTER_AREA)
            self._share = cv2.resize(self._share, size, interpolation=cv2.INTER_AREA)
        reach = window.half * np.abs(window.axes).sum(0)
        low, high = np.floor(window.centre - reach).astype(int), np.ceil(window.centre + reach).astype(int)
        self.box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))

    def bend(self, away: NDArray[np.float32], band: Box) -> None:
        """Add the window's own flow to where the pixels of a band come from.

        Args:
            away: offsets [h, w, 2] of the band, pixels; changed in place.
            band: the band's box in the picture.
        """
        if self._bent is None:
            return
        part = _shared(self.box, band)
        if part is not None:
            away[_inside(part, band)] += self._enlarged(self._bent, part, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)

    def lay_over(self, shown: Picture, band: Box) -> None:
        """Paint a band of the moved picture.

        Args:
            shown: the band, uint8 [h, w, 3]; changed in place.
            band: its box in the picture.
        """
        part = _shared(self.box, band)
        if part is None:
            return
        share = self._enlarged(self._share, part, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
        if share.max() < _BARE:
            return
        paint = self._enlarged(self._paint, part, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
        inside = _inside(part, band)
        shown[inside] = cv2.blendLinear(paint, np.ascontiguousarray(shown[inside]), share, 1 - share)

    def _enlarged(self, drawn: NDArray, part: Box, method: int, border: int) -> NDArray:
        """What is drawn in the window, [s, s, c], as the picture's pixels of a box show it."""
        matrix = self._window.matrix(drawn.shape[0])
        matrix[:, 2] += matrix[:, :2] @ part[:2]
        size = (part[2] - part[0], part[3] - part[1])
        return np.asarray(
            cv2.warpAffine(drawn, matrix, size, flags=method | cv2.WARP_INVERSE_MAP, borderMode=border), drawn.dtype
        )


def _bent(flow: NDArray[np.floating], places: NDArray[np.float32], window: FaceWindow) -> NDArray[np.float32] | None:
    """How much further a window's flow takes each of its pixels, [s, s, 2] pixels of the portrait; None: nowhere.

    Two maps, one after the other: the window's place x comes from x + flow(x) of the moved window, and that from where
    the moved window has it.
    """
    side = places.shape[0]
    if np.abs(flow).max() * window.half < _STRAIGHT:
        return None
    index = np.arange(side, dtype=np.float32)
    there = np.asarray(flow, np.float32) * np.float32(side / 2)
    there[..., 0] += index
    there[..., 1] += index[:, None]
    return np.asarray(cv2.remap(places, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) - places)


def _shared(one: Box, other: Box) -> Box | None:
    """What two boxes share."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[2], other[2]), min(one[3], other[3])
    return (left, top, right, bottom) if right > left and bottom > top else None


def _inside(part: Box, band: Box) -> tuple[slice, slice]:
    return slice(part[1] - band[1], part[3] - band[1]), slice(part[0] - band[0], part[2] - band[0])
