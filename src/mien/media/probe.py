"""What a video file is, found out as cheaply as its container allows: streams, size, rate, timing, orientation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from mien.errors import InputError
from mien.media.files import readable_file, unreadable
from mien.media.kind import stream_format

# Only real media containers: playlists and scripts (hls, concat, ...) would let a file name other files or addresses.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,gif,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,mxf,nut,ivf,h264,hevc,"
    "wav,w64,mp3,flac,aac,ac3,eac3,aiff,caf"
)
_SAMPLE = 400  # packets looked at where the container has no table of all frames; all of a GIF, which states no rate
# A packet of these is a shown frame; VP8, for one, also stores frames that are never shown.
_ONE_FRAME_A_PACKET = frozenset({"h264", "hevc", "vp9", "av1", "mjpeg", "prores", "gif", "png", "ffv1", "qtrle"})
_HIGHEST_RATE = 1000  # a container that states more means "unknown" (browsers' recordings do)


@dataclass(frozen=True)
class ClipInfo:
    """What a driver is, before any of it is read.

    kind: "video", "image" or "folder". width, height: pixels as they are shown, after rotation and with square pixels.
    rate: frames per second, the average that the container states. frames: exact where the container knows or finding
    out is cheap, else an estimate; None if unknown. duration: seconds. rotation: degrees (0, 90, 180, 270) by which the
    stored picture is turned clockwise to stand upright. variable_rate: frames do not come at even steps.
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
    """Frame times as far as they were looked at. `counted`: `frames` is exact, found without decoding."""

    rate: Fraction
    frames: int | None
    counted: bool
    variable: bool
    duration: Fraction | None


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
    """The container's tags, their names in lower case. Raises InputError if it cannot be opened."""
    with opened(path) as container:
        return {name.lower(): text for name, text in container.metadata.items()}


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The best video stream that is not cover art. Raises InputError if there is none, or none that can be decoded."""
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
    """Apply `orientation` to an array ``[h, w, c]``."""
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
    """Rate, count and evenness, from the container's table of frames or else from its first packets.

    Moves the read position of the container.
    """
    ticks, whole, countable = _listed_times(stream, path)
    last = 0
    if ticks is None:
        ticks, last, whole, countable = _sampled_times(container, stream)
    step = stream.time_base or Fraction(1, 1000)
    ticks = sorted(ticks)
    rate = _stated_rate(stream, ticks, step)
    if container.format.name == "gif" and whole and last > 0:
        # GIF states no rate, only how long each frame stays; FFmpeg's guess at one can be far off.
        rate = len(ticks) / ((ticks[-1] + last - ticks[0]) * step)
    counted = whole and countable and bool(ticks)
    duration = _stated_duration(container, stream)
    frames: int | None = None
    if counted:
        frames = len(ticks)
    elif stream.frames > 0:
        frames = stream.frames
    elif duration is not None:
        frames = max(1, round(duration * rate))
    return Timing(rate, frames, counted, _uneven(ticks, step, rate), frames / rate if frames else duration)


def count_packets(container: InputContainer, stream: VideoStream) -> int | None:
    """The number of shown frames without decoding, or None where packets do not tell."""
    count = 0
    if stream.codec_context.codec.canonical_name not in _ONE_FRAME_A_PACKET or _loose(container):
        return None
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.is_corrupt or (count == 0 and not packet.is_keyframe):
                return None
            count += 1
    except (av.error.FFmpegError, OSError):
        return None
    return count or None


def _loose(container: InputContainer) -> bool:
    """Containers that cut a stream into packets by guessing, or pad it with empty ones."""
    return not any(name in container.format.name for name in ("mp4", "matroska", "gif"))


def _listed_times(stream: VideoStream, path: Path) -> tuple[list[int] | None, bool, bool]:
    """Decoding times of all frames if the container has a full table of them (MP4, MOV), else None.

    For evenness these serve as well as presentation times: the same steps in another order.
    """
    entries = getattr(stream, "index_entries", None)  # PyAV 14 and 15 do not show it
    if entries is None or not stream.frames or len(entries) != stream.frames:
        return None, False, False
    ticks, size = [], path.stat().st_size
    whole = bool(entries[0].is_keyframe or entries[0].is_discard)
    for entry in entries:
        whole = whole and entry.pos + entry.size <= size
        if not entry.is_discard:
            ticks.append(int(entry.timestamp))
    return ticks, whole, stream.codec_context.codec.canonical_name in _ONE_FRAME_A_PACKET


def _sampled_times(container: InputContainer, stream: VideoStream) -> tuple[list[int], int, bool, bool]:
    """Times of the first packets, the last one's duration, whether those were all, and whether each is one frame."""
    ticks: list[int] = []
    last = 0
    countable = stream.codec_context.codec.canonical_name in _ONE_FRAME_A_PACKET and not _loose(container)
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:
                continue
            countable = countable and not packet.is_corrupt and (bool(ticks) or packet.is_keyframe)
            at = packet.pts if packet.pts is not None else packet.dts
            if at is None:
                countable = False
                continue
            ticks.append(at)
            last = packet.duration or 0
            if len(ticks) >= _SAMPLE and container.format.name != "gif":
                return ticks, last, False, countable
    except (av.error.FFmpegError, OSError):
        return ticks, last, False, False
    return ticks, last, True, countable


def _stated_rate(stream: VideoStream, ticks: list[int], step: Fraction) -> Fraction:
    for stated in (stream.average_rate, stream.guessed_rate):
        if stated and 0 < stated < _HIGHEST_RATE:
            return Fraction(stated)
    if len(ticks) > 1 and ticks[-1] > ticks[0]:
        measured = (len(ticks) - 1) / ((ticks[-1] - ticks[0]) * step)
        return measured.limit_denominator(1001)
    return Fraction(25)


def _stated_duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    tagged = tagged_duration(stream)
    if tagged is not None:
        return tagged
    return Fraction(container.duration, av.time_base) if container.duration else None


def tagged_duration(stream: VideoStream) -> Fraction | None:
    """The duration of one stream that Matroska files carry as a tag, ``HH:MM:SS.fraction``, in seconds."""
    try:
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds)
    except (ValueError, ZeroDivisionError):
        return None


def _uneven(ticks: list[int], step: Fraction, rate: Fraction) -> bool:
    """Whether frames leave the even grid of `rate` by more than rounding to the container's ticks explains."""
    if len(ticks) < 3:
        return False
    gaps = [b - a for a, b in zip(ticks, ticks[1:], strict=False)]
    usual = median(gaps)
    slack = max(2.0, 0.25 * usual)
    if any(abs(gap - usual) > slack for gap in gaps):
        return True
    frame = float(1 / (rate * step))  # ticks a frame
    return any(abs(at - ticks[0] - i * frame) > 0.5 * frame + 2 for i, at in enumerate(ticks))
