"""A painted face window, laid into the picture that it belongs to at the picture's own resolution.

A window is coarser than most portraits, and what small networks paint is softer still. Where what is painted is nearly
what was there, it is given the portrait's own detail: pores, lashes, brush strokes. Where something else is painted, an
open mouth or a shut eye, the old detail would be a ghost of what has gone. Colours that are nowhere near by in the
portrait are painted as less of a colour: lids do not turn violet, nor brown eyes green.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.animation.head_flow import Box
from mien.geometry.face_window import FaceWindow, PaintedWindow, sample_smoothly
from mien.typing import Picture

_STRAIGHT = 0.02  # pixels; a window that bends less bends nothing
_LIKE = 20.0  # levels of 255; paint that is so far from what was there has the less of its detail, by a Gaussian
_NEAR = 1.5  # pixels of the window: what is finer is detail
_AROUND, _OTHER = 15, 6  # pixels of the window, and levels, within which a colour must be seen in the portrait
_MEDIAN = 5  # pixels of the window, the median's side: one or two pixels are no colour
_GREY = 128  # of both colour channels of YCrCb
_FINE = 0.75  # the picture's pixels over the window's, below which the window is averaged first


class PaintedFace:
    """One frame's window, ready to be laid into bands of the picture."""

    def __init__(
        self, window: FaceWindow, painted: PaintedWindow, places: NDArray[np.float32], portrait: Picture
    ) -> None:
        """Set up.

        Args:
            window: where it lies in the picture.
            painted: what the model made.
            places: where the moved window's pixels came from, [s, s, 2], pixels of the portrait.
            portrait: uint8 [h, w, 3].
        """
        side = painted.share.shape[0]
        self._window = window
        self._bent = _bent(painted.flow, places, window)
        smaller = round(2 * window.half)
        plain = sample_smoothly(portrait, places if self._bent is None else places + self._bent, side / smaller)
        paint, share = _coloured_like(painted.paint, plain), painted.share[..., None]
        # (1 - share) * bare + share * paint + kept * (bare - detailed), in one picture of what to lessen and to add
        less, more = share, share * paint
        if smaller > _FINE * side:
            detailed, like = _detailed(plain, paint)
            kept = share * like[..., None]
            less, more = less - kept, more - kept * detailed
        self._drawn = np.concatenate([less, more], 2, dtype=np.float32)
        if smaller < _FINE * side:
            self._drawn = cv2.resize(self._drawn, (max(smaller, 8),) * 2, interpolation=cv2.INTER_AREA)
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
        inside = _inside(part, band)
        drawn = self._enlarged(self._drawn, part, cv2.INTER_CUBIC, cv2.BORDER_CONSTANT)
        made = shown[inside] * (1 - drawn[..., :1])
        made += drawn[..., 1:]
        shown[inside] = cv2.convertScaleAbs(np.maximum(made, 0))

    def _enlarged(self, drawn: NDArray, part: Box, method: int, border: int) -> NDArray:
        """What is drawn in the window, [s, s, c], as the picture's pixels of a box show it."""
        matrix = self._window.matrix(drawn.shape[0])
        matrix[:, 2] += matrix[:, :2] @ part[:2]
        size = (part[2] - part[0], part[3] - part[1])
        return np.asarray(
            cv2.warpAffine(drawn, matrix, size, flags=method | cv2.WARP_INVERSE_MAP, borderMode=border), drawn.dtype
        )


def _coloured_like(paint: Picture, plain: Picture) -> Picture:
    """Paint [s, s, 3] in colours that are near by in the bent portrait [s, s, 3], or in less of them."""
    seen, made = (cv2.cvtColor(one, cv2.COLOR_RGB2YCrCb) for one in (plain, paint))
    # what is thinner is no colour of the portrait's, such as the iris between lids that have met
    colours, around = cv2.medianBlur(seen, _MEDIAN)[..., 1:], np.ones((_AROUND, _AROUND), np.uint8)
    low = np.minimum(cv2.subtract(cv2.erode(colours, around), (_OTHER,) * 4), _GREY)
    high = np.maximum(cv2.add(cv2.dilate(colours, around), (_OTHER,) * 4), _GREY)
    np.clip(made[..., 1:], low, high, out=made[..., 1:])
    # yellow without red is green, as teeth and whites become that are painted against the red of lips and lids; blue
    # with red is violet, as shut lids become of skin and of a blue iris
    red_and_blue, painted = (both.sum(2, dtype=np.int16) for both in (colours, made[..., 1:]))
    least = np.minimum(cv2.erode(red_and_blue, around) - _OTHER, 2 * _GREY - _OTHER)
    most = np.maximum(cv2.dilate(red_and_blue, around) + _OTHER, 2 * _GREY)
    made[..., 2] += np.maximum(least - painted, 0).astype(np.uint8)
    made[..., 2] -= np.maximum(painted - most, 0).astype(np.uint8)
    return np.asarray(cv2.cvtColor(made, cv2.COLOR_YCrCb2RGB), np.uint8)


def _detailed(plain: Picture, paint: Picture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The bent portrait [s, s, 3] with the paint's detail in place of its own; how much of its own is kept, [s, s]."""
    base, smooth = (cv2.GaussianBlur(one.astype(np.float32), (0, 0), _NEAR) for one in (plain, paint))
    away = cv2.GaussianBlur(cv2.absdiff(base, smooth).mean(2), (0, 0), _NEAR)
    return base + (paint - smooth), np.exp(-np.square(away / _LIKE)).astype(np.float32)


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
