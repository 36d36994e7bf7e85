"""What the sound of a file is like, found in one pass over its packets before any of it is used."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from mien.media import probe
from mien.media.clock import joins_of

_SLACK = Fraction(1, 10)  # seconds by which sound may lie off its own course without a reason being looked for
_NEAR = 600  # packets between the places where the clocks of picture and sound start again, at most
_ONE_FORMAT = ("mp4", "matroska", "wav", "w64")  # containers that describe a stream once, for all of it


@dataclass(frozen=True)
class SoundScan:
    """How the sound of a file lies against its picture.

    Attributes:
        origin: seconds on the clock of the sound at which the first frame of the picture lies.
        shifts: for every packet of the sound, seconds to be added to its stamps.
        channels: the most there are.
        one_format: they and the rate stay.
    """

    origin: Fraction
    shifts: tuple[Fraction, ...]
    channels: int
    one_format: bool


def scan_sound(path: Path) -> SoundScan:
    """Look through a file with sound. Where its clocks start again, the sound is moved as the picture is."""
    breaks, places = _places(path)
    shifts, course = [], _Course(breaks)
    for number, at, length in places:
        shifts.append(course.shift(number, at, length))
    channels, one_format = _formats(path)
    return SoundScan(_origin(path), tuple(shifts), channels, one_format)


class _Course:
    """Follows the sound's stamps."""

    def __init__(self, breaks: list[tuple[int, Fraction]]) -> None:
        """breaks: see `Joins`, of the picture."""
        self._breaks = breaks
        self._shift = Fraction(0)
        self._end: Fraction | None = None

    def shift(self, number: int, at: Fraction | None, length: Fraction) -> Fraction:
        """Seconds to be added for a packet: its number in the file, stamp and length."""
        if at is None:
            return self._shift
        if self._end is not None and abs(at + self._shift - self._end) > _SLACK:
            self._find(number, at, self._end)
        self._end = at + self._shift + length
        return self._shift

    def _find(self, number: int, at: Fraction, end: Fraction) -> None:
        """Take on the picture's shift if that explains where the sound is; what else goes back is moved to the end."""
        near = [shift for place, shift in self._breaks if abs(place - number) <= _NEAR]
        best = min([self._shift, *near], key=lambda shift: abs(at + shift - end))
        if best == self._shift and at + best < end - _SLACK:
            best = end - at
        self._shift = best


def _places(path: Path) -> tuple[list[tuple[int, Fraction]], list[tuple[int, Fraction | None, Fraction]]]:
    """The picture's `Joins.breaks`; number in the file, stamp and length of every packet of the sound, in seconds."""
    places: list[tuple[int, Fraction | None, Fraction]] = []
    with probe.opened(path) as container:
        picture, sound = _picture(container, path), probe.sound_stream(container)
        joins = None if picture is None else joins_of(picture, container)
        try:
            for number, packet in enumerate(container.demux([s for s in (picture, sound) if s is not None])):
                if packet.size == 0 or packet.time_base is None:
                    continue
                if packet.stream.index == sound.index:
                    at = packet.pts if packet.pts is not None else packet.dts
                    seconds = None if at is None else at * packet.time_base
                    places.append((number, seconds, (packet.duration or 0) * packet.time_base))
                elif joins is not None:
                    joins.shift(packet, number)
        except (av.error.FFmpegError, OSError):
            pass  # said when the sound is read
        return ([] if joins is None else joins.breaks), places


def _formats(path: Path) -> tuple[int, bool]:
    """The most channels, and whether channels and rate stay the same."""
    with probe.opened(path) as container:
        sound = probe.sound_stream(container)
        found = {(sound.codec_context.channels, sound.codec_context.sample_rate)}
        if any(name in container.format.name for name in _ONE_FORMAT):
            return sound.codec_context.channels, True
        found = set()
        packets = container.demux(sound)
        while (packet := _next(packets)) is not None:
            try:
                found |= {(len(frame.layout.channels), frame.sample_rate) for frame in packet.decode()}
            except (av.error.FFmpegError, OSError):
                continue
        return max((channels for channels, _ in found), default=sound.codec_context.channels), len(found) <= 1


def _next(packets: Any) -> Any:
    try:
        return next(packets, None)
    except (av.error.FFmpegError, OSError):
        return None


def _origin(path: Path) -> Fraction:
    with probe.opened(path) as container:
        picture = _picture(container, path)
        return Fraction(0) if picture is None else probe.first_time(container, picture)


def _picture(container: Any, path: Path) -> Any:
    """The video stream a `Clip` shows, or None."""
    known = any(s.codec_context is not None for s in probe.moving_streams(container))
    return probe.video_stream(container, path) if known else None
