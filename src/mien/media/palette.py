"""RGB frames to 256 colours each, for GIF, through FFmpeg's palette filters, one frame at a time."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.filter import Graph


class Palette:
    """Chooses a palette for every frame by itself, so that no frame waits for those after it."""

    def __init__(self, width: int, height: int) -> None:
        graph = Graph()
        source = graph.add_buffer(
            width=width, height=height, format=av.VideoFormat("rgb24"), time_base=Fraction(1, 100)
        )
        split = graph.add("split")
        choose = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
        use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=4")
        sink = graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(choose, 1, 0)
        choose.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        self._graph = graph
        self._frames = 0

    def __call__(self, pixels: np.ndarray) -> av.VideoFrame:
        """`pixels`: uint8 RGB ``[h, w, 3]``; returns a frame of format pal8."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = self._frames, Fraction(1, 100)
        self._frames += 1
        self._graph.push(frame)
        return self._graph.pull()  # type: ignore[return-value]  # the graph is made of video filters
