"""HDR and wide-gamut video to BT.709: what phones record (HLG or PQ in BT.2020) as a plain screen shows it.

The mapping is a function of the colour alone and the same for every frame of a clip, so it is computed once, from the
standards' formulas, as a cube of colours that FFmpeg's `haldclut` looks frames up in.

Sources: transfer functions ITU-R BT.2100-2, tables 4 and 5, and BT.1886; primaries ITU-T H.273, table 2; the level of a
white sheet of paper in HDR, 203 cd/m2, ITU-R BT.2408.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PQ, HLG = 16, 18  # H.273, table 3 (transfer characteristics)
_BT709, _BT2020, _DCI, _P3 = 1, 9, 11, 12  # H.273, table 2 (colour primaries)
# x, y of red, green, blue and white
_CHROMATICITIES = {
    _BT709: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, 0.3127, 0.3290),
    _BT2020: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),
    _DCI: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3140, 0.3510),
    _P3: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290),
}
_HLG_PEAK = 1000.0  # cd/m2 of the display for which HLG's gamma is 1.2
_PQ_PEAK = 10_000.0
_PAPER = 203.0  # cd/m2
_SDR_PEAK = 100.0  # cd/m2, the white of plain video
_GRADED = (_SDR_PEAK, _PAPER, 1000.0, 4000.0, _PQ_PEAK)  # cd/m2: peaks for which video in PQ is made
_OVERSHOOT = 1.25  # how far above them coding may push the brightest colours
_BRIGHTEST = 99.99  # percentile; above it noise and coding overshoot
_MIDDLE = 0.12  # of white: portraits are at least as bright on average, but for those taken in the dark
_KNEE = 0.75  # of white: darker colours stay as they are where brighter ones are pressed together
_GAMMA = 2.4  # BT.1886
_LEVEL = 8  # of the Hald picture: a cube of 64 colours a side
_SAMPLES = 8  # frames of a clip whose brightness is measured
_SAMPLE_SIDE = 320


@dataclass(frozen=True)
class ColourSpace:
    """What a clip's colours are measured in.

    `white` and `peak` mean nothing where the transfer is that of plain video.

    Attributes:
        transfer: H.273's number.
        primaries: H.273's number.
        white: cd/m2 that become BT.709's white.
        peak: cd/m2 of the brightest colour.
    """

    transfer: int
    primaries: int
    white: float = _PAPER
    peak: float = _HLG_PEAK

    @property
    def is_hdr(self) -> bool:
        """Whether code values stand for light beyond the white of plain video."""
        return self.transfer in (PQ, HLG)


def space_of(frame: av.VideoFrame, stream: VideoStream) -> ColourSpace | None:
    """The colour space of a clip; None for plain video, which needs no mapping.

    Args:
        frame: one of its frames.
        stream: the frame's stream.
    """
    context = stream.codec_context
    # Only newer versions of PyAV show the tags of frames; those of the stream are the same.
    transfer, primaries = (
        int(getattr(frame, name, None) or getattr(context, name, None) or 2)
        for name in ("color_trc", "color_primaries")
    )
    return coded_space(transfer, primaries)


def coded_space(transfer: int, primaries: int) -> ColourSpace | None:
    """The colour space by H.273's numbers; None for BT.709, sRGB and what is near them."""
    if transfer not in (PQ, HLG):
        return ColourSpace(transfer, primaries) if primaries in (_BT2020, _DCI, _P3) else None
    return ColourSpace(transfer, primaries if primaries in _CHROMATICITIES else _BT2020)


def exposed(space: ColourSpace, container: InputContainer, stream: VideoStream, scaling: dict[str, Any]) -> ColourSpace:
    """`exposed_by` a few frames from all over a clip.

    Args:
        space: of the clip.
        container: of the clip; its read position moves.
        stream: of the clip.
        scaling: how the scaler is told of the frames' matrix and range.
    """
    scaler = VideoReformatter()
    options = {**scaling, "interpolation": "POINT"}  # an average would hide small highlights

    def samples() -> Iterator[Floats]:
        for frame in _spread_frames(container, stream):
            shrink = min(1.0, _SAMPLE_SIDE / max(frame.width, frame.height))
            width, height = (max(1, round(side * shrink)) for side in (frame.width, frame.height))
            small = scaler.reformat(frame, width=width, height=height, format="rgb48le", **options)
            yield np.asarray(small.to_ndarray(), np.float64) / 65535

    return exposed_by(space, samples()) if space.is_hdr else space


def exposed_by(space: ColourSpace, samples: Iterable[Floats]) -> ColourSpace:
    """The same space with white and peak set by samples of the pictures.

    White is the lowest level, from paper's white up, at which the picture is not too bright on average, but at most the
    peak that the video was made for: 1000 cd/m2 in HLG, in PQ the lowest usual one that holds the colours. So a scene
    with a few lights in it looks ordinary, and plain video that was put into HDR comes out as it was.

    Args:
        space: of the clip.
        samples: code values ``[h, w, 3]`` in [0, 1].
    """
    means, peak = [], 0.0
    for codes in samples if space.is_hdr else ():
        light = emitted(codes, space)
        means.append(float((light @ _to_xyz(space.primaries)[1]).mean()))
        peak = max(peak, float(np.percentile(light.max(axis=-1), _BRIGHTEST)))
    if not means:
        return space
    graded = next(level for level in _GRADED if level >= min(peak / _OVERSHOOT, _PQ_PEAK))
    if space.transfer == HLG:
        graded = _HLG_PEAK
    white = min(max(float(np.mean(means)) / _MIDDLE, _PAPER), graded)
    # frames between the measured ones may be somewhat brighter
    return replace(space, white=white, peak=max(white, min(graded, peak * _OVERSHOOT)))


def emitted(codes: Floats, space: ColourSpace) -> Floats:
    """Code values to linear light in the space's primaries.

    HLG's gamma is applied to each channel, as FFmpeg's zscale does, and not to the luminance: so saturation grows with
    it as it does in plain video, which was made for the same gamma.

    Args:
        codes: ``[..., 3]`` in [0, 1].
        space: of the codes.

    Returns:
        ``[..., 3]``, cd/m2, or 0 to 1 of plain video.
    """
    codes = np.clip(codes, 0.0, 1.0)
    if space.transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)
        return np.asarray(_HLG_PEAK * scene**1.2)
    if space.transfer == PQ:
        m1, m2, c1, c2, c3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
        root = codes ** (1 / m2)
        return np.asarray(_PQ_PEAK * (np.maximum(root - c1, 0.0) / (c2 - c3 * root)) ** (1 / m1))
    return np.asarray(codes**_GAMMA)


def to_bt709(codes: Floats, space: ColourSpace) -> Floats:
    """Code values of a space to BT.709's.

    Light up to the knee is kept in proportion to white, brighter light is pressed together up to the clip's peak, and
    what BT.709 has no colour for is made paler at the same luminance.

    Args:
        codes: ``[..., 3]`` in [0, 1].
        space: of the codes.

    Returns:
        ``[..., 3]`` in [0, 1].
    """
    light = emitted(codes, space)
    if space.is_hdr:
        light = light / space.white
        brightest = light.max(axis=-1, keepdims=True)
        light = light * (_rolled(brightest, space.peak / space.white) / np.maximum(brightest, 1e-9))
    linear = light @ gamut_matrix(space.primaries).T
    return np.asarray(_within(linear) ** (1 / _GAMMA))


def gamut_matrix(primaries: int) -> Floats:
    """The map ``[3, 3]`` from linear light in some primaries to BT.709's; white stays white."""
    return np.linalg.inv(_to_xyz(_BT709)) @ _to_xyz(primaries)


class ToBT709:
    """Looks frames up in the cube of one colour space and one size of picture."""

    def __init__(self, space: ColourSpace, width: int, height: int) -> None:
        graph = Graph()
        step = Fraction(1, 1000)
        self._source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb48le"), time_base=step)
        side = _LEVEL**3
        cube = graph.add_buffer(width=side, height=side, format=av.VideoFormat("rgb48le"), time_base=step)
        look_up = graph.add("haldclut", "interp=tetrahedral")
        self._sink = graph.add("buffersink")
        self._source.link_to(look_up, 0, 0)
        cube.link_to(look_up, 0, 1)
        look_up.link_to(self._sink)
        graph.configure()
        self._graph, self._step, self._frames = graph, step, 0
        cube.push(self._timed(av.VideoFrame.from_ndarray(_hald(space), format="rgb48le")))
        cube.push(None)  # one picture for all frames

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """`frame`: rgb48le of the size that was given; returns uint8 RGB ``[h, w, 3]``."""
        self._source.push(self._timed(frame))
        self._frames += 1
        looked_up: Any = self._sink.pull()
        wide = looked_up.to_ndarray(format="rgb48le")
        return np.asarray((wide.astype(np.uint32) + 128) // 257, np.uint8)

    def _timed(self, frame: av.VideoFrame) -> av.VideoFrame:
        frame.pts, frame.time_base = self._frames, self._step
        return frame


@lru_cache(maxsize=4)
def _hald(space: ColourSpace) -> NDArray[np.uint16]:
    """The cube as a Hald picture ``[512, 512, 3]``: red runs fastest, then green, then blue."""
    count = _LEVEL**2
    steps = np.linspace(0.0, 1.0, count)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    mapped = to_bt709(np.stack([red, green, blue], axis=-1), space)
    return np.rint(mapped * 65535).astype(np.uint16).reshape(_LEVEL**3, _LEVEL**3, 3)


def _rolled(values: Floats, peak: float) -> Floats:
    """Values, 1 is white, brought below 1: kept up to the knee, then ever flatter until the peak becomes 1."""
    if peak <= 1.0:
        return np.minimum(values, 1.0)
    steep = (peak - _KNEE) / (1 - _KNEE)
    part = np.clip((values - _KNEE) / (peak - _KNEE), 0.0, 1.0)
    return np.where(values <= _KNEE, values, _KNEE + (1 - _KNEE) * part * steep / (1 + (steep - 1) * part))


def _within(linear: Floats) -> Floats:
    """Colours out of [0, 1] mixed with grey of their luminance, just so much that they fit."""
    grey = np.clip(linear @ _to_xyz(_BT709)[1], 0.0, 1.0)[..., None]
    away = linear - grey
    room = np.where(away > 0, (1 - grey) / np.maximum(away, 1e-12), grey / np.maximum(-away, 1e-12))
    return np.asarray(np.clip(grey + away * np.minimum(room.min(axis=-1, keepdims=True), 1.0), 0.0, 1.0))


def _to_xyz(primaries: int) -> Floats:
    """Linear light to CIE XYZ ``[3, 3]``, white adapted to D65 (Bradford); the second row gives the luminance."""
    values = _CHROMATICITIES[primaries]
    columns = [_of_chromaticity(*values[at : at + 2]) for at in (0, 2, 4)]
    base, white = np.stack(columns, axis=1), _of_chromaticity(*values[6:])
    matrix = base * np.linalg.solve(base, white)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    d65 = _of_chromaticity(*_CHROMATICITIES[_BT709][6:])
    gains = (bradford @ d65) / (bradford @ white)
    return np.asarray(np.linalg.inv(bradford) @ (gains[:, None] * bradford) @ matrix)


def _of_chromaticity(x: float, y: float) -> Floats:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _spread_frames(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """The first frame, then frames near equal steps through the clip as far as it can be sought."""
    length = stream.duration
    if length is None and container.duration and stream.time_base:
        length = round(Fraction(container.duration, av.time_base) / stream.time_base)
    begin = stream.start_time or 0
    places: Iterable[int] = [begin + length * index // _SAMPLES for index in range(1, _SAMPLES)] if length else []
    with suppress(av.error.FFmpegError, OSError, StopIteration):
        yield next(_decoded(container, stream))
    for place in places:
        with suppress(av.error.FFmpegError, OSError, StopIteration):
            container.seek(place, stream=stream)
            yield next(_decoded(container, stream))


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    yield from container.decode(stream)  # type: ignore[misc]  # a video stream gives video frames
