"""What a video file is, found out as cheaply as its container allows: streams, size, rate, timing, orientation."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from mien.errors import InputError
from mien.media.clock import Seconds, even_rate, is_uneven, joins_of, lasting, steady
from mien.media.files import readable_file, unreadable
from mien.media.kind import stream_format

# Only real media containers: playlists and scripts (hls, concat, ...) would let a file name other files or addresses.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,gif,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,mxf,nut,ivf,h264,hevc,"
    "wav,w64,mp3,flac,aac,ac3,eac3,aiff,caf"
)
# A packet of these is a shown frame; VP8, for one, also stores frames that are never shown.
_ONE_FRAME_A_PACKET = frozenset({"h264", "hevc", "vp9", "av1", "mjpeg", "prores", "gif", "png", "ffv1", "qtrle"})
_HIGHEST_RATE = 1000  # a container that states more means "unknown" (browsers' recordings do)
_UNSTATED = Fraction(25)
_MOST_WITHOUT_TIME = 1000  # frames
_FASTER = Fraction(3, 2)  # times the stated rate; frames that come so much faster show that it is wrong
_UNFINISHED_RIFF = 0xFFFFFF00  # what programs write that never came back to their header
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # Matroska's first elements


@dataclass(frozen=True)
class ClipInfo:
    """What a driving video is, before any of it is read.

    What `frames`, `duration` and `variable_rate` say is certain after one reading of the clip.

    Attributes:
        path: of the file or folder.
        kind: "video", "image" or "folder".
        width: pixels as they are shown, after rotation and with square pixels.
        height: the same.
        rate: frames per second; where they come unevenly, what the container states.
        frames: exact where the container tells, else an estimate; None if unknown.
        duration: seconds to the end of the last frame.
        has_audio: whether there is sound.
        rotation: degrees (0, 90, 180, 270) by which the stored picture is turned clockwise to stand upright.
        variable_rate: frames do not come at even steps.
    """

    path: Path
    kind: str
    width: int
    height: int
    rate: Fraction
    frames: int | None
    duration: Fraction | None
    has_audio: bool = False
    rotation: int = 0
    variable_rate: bool = False


@dataclass(frozen=True)
class Timing:
    """Frame times as far as packets tell them.

    Attributes:
        rate: frames a second.
        stamps: of all frames in order, ticks.
        counted: they are as many as decoding will give if nothing is damaged.
        variable: frames do not come at even steps.
        duration: seconds to the end of the last frame.
        tick: the container's smallest step, seconds.
        late: frames before the first key frame, which cannot be decoded.
        cut: the file ends before its container says so.
    """

    rate: Fraction
    stamps: NDArray[np.int64]
    counted: bool
    variable: bool
    duration: Fraction | None
    tick: Fraction
    late: int
    cut: bool

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self.stamps)

    def moments(self) -> list[Fraction]:
        """Their times in seconds, from the first one on."""
        ticks = ((None, int(at) * self.tick) for at in self.stamps - self.stamps[:1])
        return [at for _, at in steady(ticks, 1 / self.rate)]


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a media file for reading; anything that keeps it from being opened becomes InputError."""
    readable_file(path, "video file")
    try:
        container = av.open(
            # Absolute, because FFmpeg reads "a:b.mp4" as an address.
            str(path.absolute()),
            format=stream_format(path),
            container_options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except PermissionError as error:
        raise unreadable(path, error) from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a video this program can read, or it is cut off before its table of contents; "
            "save it as MP4 or copy it again."
        ) from error
    with container:
        yield container


def read_tags(path: Path) -> dict[str, str]:
    """The container's tags, their names in lower case.

    Raises:
        InputError: if it cannot be opened.
    """
    with opened(path) as container:
        return {name.lower(): text for name, text in container.metadata.items()}


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The best video stream that is not cover art.

    Args:
        container: opened.
        path: of its file, for the message.

    Raises:
        InputError: if there is none, or none that can be decoded.
    """
    streams = moving_streams(container)
    if not streams:
        raise InputError(f"{path} has no video stream; give a file that shows moving pictures, or an image.")
    best = container.streams.best("video")
    stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
    if stream.codec_context is None:
        raise InputError(f"{path} is stored in a codec this program cannot decode; convert it to H.264 in MP4.")
    return stream


def moving_streams(container: InputContainer) -> list[VideoStream]:
    """The video streams that are not cover art."""
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def sound_stream(container: InputContainer) -> Any:
    """The best audio stream that can be decoded or copied, or None."""
    best = container.streams.best("audio")
    return best if best is not None and best.codec_context is not None else None


def orientation(frame: av.VideoFrame) -> tuple[int, bool]:
    """Quarter turns clockwise, and whether to mirror left to right before turning, from the frame's display matrix.

    The matrix (ISO 14496-12, 6.2.2) maps stored (p, q) to shown x = a p + c q, y = b p + d q, y pointing down.
    """
    items: Iterator[Any] = iter(frame.side_data)  # PyAV declares a mapping of names but gives the items themselves
    for item in items:
        if item.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = (int(v) for v in np.frombuffer(bytes(item), np.int32)[:5])
            # A mirrored matrix (negative determinant) is a mirror, (p, q) -> (-p, q), followed by a turn.
            mirrored = a * d - b * c < 0
            if mirrored:
                a, b = -a, -b
            return int(np.rint(np.degrees(np.arctan2(b, a)) / 90)) % 4, mirrored
    return 0, False


def upright(pixels: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    """Apply `orientation`.

    Args:
        pixels: ``[h, w, c]``.
        turns: quarter turns clockwise.
        mirrored: whether to mirror left to right before.
    """
    if mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(np.rot90(pixels, -turns)) if turns or mirrored else pixels


def square_size(stream: VideoStream, frame: av.VideoFrame) -> tuple[int, int]:
    """Width and height of the stored picture once its pixels are square (old camcorders store them oblong)."""
    aspect = stream.sample_aspect_ratio
    if not aspect or not Fraction(1, 4) <= aspect <= 4 or abs(aspect - 1) < Fraction(1, 100):
        return frame.width, frame.height
    return max(1, round(frame.width * aspect)), frame.height


def timing(container: InputContainer, stream: VideoStream, path: Path) -> Timing:
    """Rate, times and evenness, from the container's table of frames or else from all its packets.

    Args:
        container: opened; its read position moves.
        stream: of the picture.
        path: of the file, for the message.
    """
    tick = stream.time_base or Fraction(1, 1000)
    found = _listed(stream, path) or _demuxed(container, stream)
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    stated = [Fraction(rate) for rate in rates if rate and 0 < rate < _HIGHEST_RATE]
    stamps = np.array(sorted(found.stamps), np.int64)
    moments: Seconds = np.asarray((stamps - stamps[:1]) * float(tick), np.float64)
    if len(stamps) > 1 and np.diff(stamps).min() <= 0:
        ticks = ((None, int(at) * tick) for at in stamps)
        moments = np.array([at for _, at in steady(ticks, 1 / (stated or [_UNSTATED])[0])], np.float64)
        moments -= moments[0]
    unmeasured = (stated or [_UNSTATED])[0]  # of a single frame there is nothing to measure
    measured = Fraction((len(moments) - 1) / float(moments[-1])) if len(moments) > 1 else unmeasured
    rate = even_rate(moments, stated, tick)
    if rate is None:
        rate = stated[0] if stated and measured < _FASTER * stated[0] else measured.limit_denominator(1001) or _UNSTATED
    if container.format.name == "gif" and found.last > 0:
        # GIF states no rate, only how long each frame stays; FFmpeg's guess at one can be far off.
        rate = len(moments) / ((int(stamps[-1] - stamps[0]) + found.last) * tick)
    variable = is_uneven(moments, rate, tick)
    if len(moments):
        duration: Fraction | None = lasting(moments, 1 / rate) if variable else len(moments) / rate
    else:
        duration = _stated_duration(container, stream)
    cut = found.cut or _shorter_than_its_header(path)
    return Timing(rate, stamps, found.counted and len(stamps) > 0, variable, duration, tick, found.late, cut)


def first_frame(container: InputContainer, stream: VideoStream) -> av.VideoFrame | None:
    """The first frame that decodes; packets before it that do not are passed over."""
    return next((frame for frame, _ in _decoding(container, stream)), None)


def first_time(container: InputContainer, stream: VideoStream) -> Fraction:
    """Seconds at which the first frame that decodes lies on the file's clock; 0 if there is none that has a time.

    Frames before the clock's 0 have no stamps in Matroska; they are counted back from the first one that has.
    """
    for number, (_, at) in enumerate(islice(_decoding(container, stream), _MOST_WITHOUT_TIME)):
        if at is not None:
            return at - number / Fraction(stream.guessed_rate or stream.average_rate or _UNSTATED)
    return Fraction(0)


def _decoding(container: InputContainer, stream: VideoStream) -> Iterator[tuple[av.VideoFrame, Fraction | None]]:
    packets, stamps = container.demux(stream), Stamps(container)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            if packet.is_corrupt or is_empty(packet):
                continue
            stamps.entered(packet)
            frames = packet.decode()
        except (av.error.FFmpegError, OSError):
            stamps.failed()
            continue  # if the demuxer broke, its generator is over and gives None next
        for frame in frames:
            assert isinstance(frame, av.VideoFrame)  # a packet of a video stream gives video frames
            yield frame, stamps.of(frame)


def is_empty(packet: av.Packet) -> bool:
    """Whether a packet holds nothing, as those by which AVI says "as before"; the one that flushes is not meant."""
    return packet.size == 0 and packet.dts is not None


class Stamps:
    """Time stamps of decoded frames, in seconds.

    Where packets have no time to be shown at, frames take those of decoding in order; AVI knows no others, and what
    FFmpeg makes up for B frames there is out of order.
    """

    def __init__(self, container: InputContainer) -> None:
        self._all, self._noted = container.format.name == "avi", False
        self._waiting: deque[Fraction] = deque()

    def entered(self, packet: av.Packet) -> None:
        """Note a packet that goes to the decoder."""
        self._noted = bool(packet.size) and packet.dts is not None and (self._all or packet.pts is None)
        if self._noted and packet.dts is not None:
            self._waiting.append(packet.dts * (packet.time_base or Fraction(0)))

    def failed(self) -> None:
        """Forget the last packet, which gave nothing."""
        if self._noted and self._waiting:
            self._waiting.pop()
            self._noted = False

    def of(self, frame: av.VideoFrame) -> Fraction | None:
        """The stamp of the next frame that was decoded."""
        if (self._all or frame.pts is None) and self._waiting:
            return self._waiting.popleft()
        return None if frame.pts is None or not frame.time_base else frame.pts * frame.time_base


@dataclass(frozen=True)
class _Found:
    """What packets tell. stamps: in any order; last: how long the last of them lasts; both in ticks."""

    stamps: list[int]
    last: int
    counted: bool
    late: int
    cut: bool


def _listed(stream: VideoStream, path: Path) -> _Found | None:
    """The decoding times of all frames if the container has a full table of them (MP4, MOV), else None.

    For evenness these serve as well as presentation times: the same steps in another order.
    """
    entries = getattr(stream, "index_entries", None)  # PyAV 14 and 15 do not show it
    if entries is None or not stream.frames or len(entries) != stream.frames:
        return None
    stamps: list[int] = []
    size, late, whole = path.stat().st_size, 0, True
    for entry in entries:
        whole = whole and entry.pos + entry.size <= size
        if not entry.is_discard:
            late += late == len(stamps) and not entry.is_keyframe
            stamps.append(int(entry.timestamp))
    single = stream.codec_context.codec.canonical_name in _ONE_FRAME_A_PACKET
    return _Found(stamps, 0, whole and single and late == 0, late, not whole)


def _demuxed(container: InputContainer, stream: VideoStream) -> _Found:
    """The same from all packets."""
    single = stream.codec_context.codec.canonical_name in _ONE_FRAME_A_PACKET and not _loose(container)
    decoding_order = container.format.name == "avi"
    stamps: list[int] = []
    late, last, joins = 0, 0, joins_of(stream, container)
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            packet = joins.moved(packet)
            if packet.is_discard:
                continue
            single = single and not packet.is_corrupt
            late += late == len(stamps) and not packet.is_keyframe
            at = packet.dts if packet.pts is None or (decoding_order and packet.dts is not None) else packet.pts
            if at is None:
                single = False
                continue
            stamps.append(at)
            last = packet.duration or 0
    except (av.error.FFmpegError, OSError):
        single = False
    return _Found(stamps, last, single and late == 0, late, False)


def _loose(container: InputContainer) -> bool:
    """Containers that cut a stream into packets by guessing, or pad it with empty ones."""
    return not any(name in container.format.name for name in ("mp4", "matroska", "gif"))


def _stated_duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    return Fraction(container.duration, av.time_base) if container.duration else None


def _shorter_than_its_header(path: Path) -> bool:
    """Whether a Matroska or AVI file is shorter than the length in its header (their demuxers end without a word)."""
    with path.open("rb") as file:
        head, size = file.read(4096), path.stat().st_size
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        stated = int.from_bytes(head[4:8], "little")
        return 0 < stated < _UNFINISHED_RIFF and 8 + stated > size
    start = head.find(_SEGMENT)
    if head[:4] != _EBML or start < 0 or start + 12 > len(head):
        return False
    # A number of variable length (RFC 8794, section 4): leading zeros of its first byte tell how many follow.
    at = start + len(_SEGMENT)
    width = 9 - head[at].bit_length()
    content = int.from_bytes(head[at : at + width], "big") & ((1 << 7 * width) - 1)
    unknown = content == (1 << 7 * width) - 1
    return width <= 8 and content > 0 and not unknown and at + width + content > size
