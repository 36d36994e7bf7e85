"""Between the pixel formats of video files and RGB.

One rule in both directions: the matrix and the range are those the frame is tagged with; an untagged frame is BT.601,
limited range, as FFmpeg, OpenCV and most Python readers take it. We write BT.601 and say so in the tags, so that
readers which honour tags and readers which ignore them see the same colours. HDR and wide gamuts are mapped to BT.709
(`mien.media.hdr`); among the primaries of plain video no difference is made.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from mien.media.hdr import ColourSpace, ToBT709

# ITU-T H.273, table 4 (matrix coefficients), to swscale's numbers for the same.
_SCALER_BT601, _SCALER_BT709 = 5, 1
_MATRICES = {1: _SCALER_BT709, 4: 4, 5: _SCALER_BT601, 6: _SCALER_BT601, 7: 7, 9: 9, 10: 9}
MATRIX_BT601 = 6  # H.273 code of SMPTE 170M
BT709 = 1  # H.273 code of the BT.709 primaries and transfer
LIMITED_RANGE = 1
FULL_RANGE = 2


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether the pixel format of the frame stores transparency."""
    return frame.format.name == "pal8" or any(c.is_alpha for c in frame.format.components)


def over_white(rgba: np.ndarray) -> np.ndarray:
    """Lay transparency over white.

    Args:
        rgba: uint8 ``[h, w, 4]``, straight (not premultiplied).

    Returns:
        uint8 RGB ``[h, w, 3]``.
    """
    alpha = rgba[..., 3]
    if alpha.size and int(alpha.min()) == 255:
        return np.ascontiguousarray(rgba[..., :3])
    weight = alpha[..., None].astype(np.uint16)
    mixed = rgba[..., :3].astype(np.uint16) * weight
    # c a + 255 (255 - a) is at most 255 * 255, which fits in 16 bits together with the half for rounding.
    mixed += (255 - weight) * 255 + 127
    return (mixed // 255).astype(np.uint8)


def matrix_and_range(frame: av.VideoFrame) -> dict[str, Any]:
    """What the scaler is told of a frame's matrix and range to make RGB of it."""
    options: dict[str, Any] = {"interpolation": "BICUBIC"}
    if not frame.format.is_rgb and frame.format.name != "pal8":
        full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
        matrix = _MATRICES.get(int(frame.colorspace), _SCALER_BT601)
        options["src_colorspace"] = matrix
        # Means nothing for RGB, but PyAV 15 heeds the source's matrix and range only where the target's differ.
        options["dst_colorspace"] = _SCALER_BT709 if matrix == _SCALER_BT601 else _SCALER_BT601
        options["src_color_range"] = "JPEG" if full else "MPEG"
        options["dst_color_range"] = "JPEG"
    return options


class ToRGB:
    """Turns decoded frames into RGB arrays of one size; holds the scaler, so use one for a whole stream.

    Attributes:
        space: of HDR or wide-gamut video, which is mapped to BT.709; None for plain video.
    """

    def __init__(self, space: ColourSpace | None = None) -> None:
        self._scaler = VideoReformatter()
        self._space = space
        self._mapping: tuple[tuple[int, int], ToBT709] | None = None

    def __call__(self, frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
        """Return uint8 RGB ``[height, width, 3]``; transparency is laid over white."""
        alpha = has_alpha(frame)
        options = matrix_and_range(frame)
        if self._space is not None and not alpha:
            wide = self._scaler.reformat(frame, width=width, height=height, format="rgb48le", **options)
            if self._mapping is None or self._mapping[0] != (width, height):
                self._mapping = (width, height), ToBT709(self._space, width, height)
            return self._mapping[1](wide)
        layout = "rgba" if alpha else "rgb24"
        converted = self._scaler.reformat(frame, width=width, height=height, format=layout, **options)
        pixels = converted.to_ndarray()
        return over_white(pixels) if alpha else pixels


class FromRGB:
    """Turns RGB arrays into frames of one pixel format, BT.601 limited range where that format is not RGB."""

    def __init__(self, pixel_format: str) -> None:
        self._format = pixel_format
        self._scaler = VideoReformatter()

    def __call__(self, pixels: np.ndarray) -> av.VideoFrame:
        """`pixels`: uint8 RGB ``[h, w, 3]``."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        if self._format == "rgb24":
            return frame
        converted = self._scaler.reformat(
            frame,
            format=self._format,
            dst_colorspace=_SCALER_BT601,
            src_color_range="JPEG",
            dst_color_range="MPEG",
            interpolation="BICUBIC",
        )
        converted.colorspace = MATRIX_BT601
        converted.color_range = LIMITED_RANGE
        return converted
