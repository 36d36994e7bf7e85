"""The clock of a video: made to run on where it starts again, with a time of its own for every frame, and its rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, TypeVar

import av
import numpy as np
from numpy.typing import NDArray

_Item = TypeVar("_Item")
Seconds = NDArray[np.float64]

_SHORTEST_RETURN = 3  # frames by which a clock must go back to count as started again; less is jitter
_LONGEST_FRAME = 1  # seconds; a packet that states more states nonsense, or a pause
_LEAP = 10  # seconds; broadcast containers have no pauses, so a longer step is a clock that was set anew (as FFmpeg's)
_FAR = 1  # seconds ahead that one wrong stamp must lie to be taken for wrong
_MOST_HELD = 8  # frames without a time that may wait for the next good one
_HIGHEST_RATE = 480
_MILLISECOND = Fraction(1, 1000)
_NTSC = Fraction(1000, 1001)


class Joins:
    """Where the time stamps of one stream's packets start again, as in recordings that were joined byte by byte.

    Attributes:
        breaks: for every such place the number that `shift` was given with it, and the seconds to be added from there
            on.
    """

    def __init__(self, frame: Fraction, *, leaps: bool) -> None:
        """Begin a stream.

        Args:
            frame: usual seconds from one frame to the next.
            leaps: whether a long step ahead is a new clock, too.
        """
        self.breaks: list[tuple[int, Fraction]] = []
        self._frame, self._leaps = frame, leaps
        self._shift = Fraction(0)
        self._last: Fraction | None = None
        self._before: Fraction | None = None

    def shift(self, packet: av.Packet, number: int = 0) -> Fraction:
        """Seconds to be added to the stamps of a packet.

        Args:
            packet: the next one of its stream.
            number: by which `breaks` names the packet.
        """
        if packet.dts is None or packet.time_base is None:
            return self._shift
        at = packet.dts * packet.time_base
        if self._last is not None and self._is_new(at):
            self._shift += self._last + self._frame - at
            self.breaks.append((number, self._shift))
        if packet.duration and packet.duration * packet.time_base < _LONGEST_FRAME:
            self._frame = packet.duration * packet.time_base
        self._before, self._last = self._last, at
        return self._shift

    def moved(self, packet: av.Packet) -> av.Packet:
        """The packet with its stamps on the clock that runs on."""
        ticks = round(self.shift(packet) / packet.time_base) if packet.time_base else 0
        if ticks:
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        return packet

    def _is_new(self, at: Fraction) -> bool:
        assert self._last is not None
        if at - self._last > _LEAP:
            return self._leaps
        if self._last - at < _SHORTEST_RETURN * self._frame:
            return False
        # a single stamp far ahead, and back again: that one was wrong
        alone = self._before is not None and self._last - self._before > _FAR and 0 < at - self._before < _FAR
        return not alone


def joins_of(stream: Any, container: Any) -> Joins:
    """`Joins` for a video stream."""
    rate = stream.average_rate or stream.guessed_rate or 25
    broadcast = container.format.name in ("mpegts", "mpeg")
    return Joins(1 / Fraction(rate), leaps=broadcast)


def steady(frames: Iterable[tuple[_Item, Fraction | None]], usual: Fraction) -> Iterator[tuple[_Item, Fraction]]:
    """Items in showing order with times that strictly increase, each as near to its stamp as can be.

    An item without a stamp follows the one before by `usual` seconds; if the first ones have none, the clock begins
    with them, before the first stamp. One whose stamp is not later than the one before, or far ahead of the one after,
    is laid between its neighbours; the others do not move. Where stamps stay behind for long, the clock is taken to
    have started again and runs on.

    Args:
        frames: items with their stamps, seconds.
        usual: seconds from one item to the next.

    Yields:
        An item and its time, seconds.
    """
    last: Fraction | None = None
    shift, stamped = Fraction(0), False
    held: list[tuple[_Item, Fraction | None]] = []  # wait for the time of the next one
    for item, stamp in frames:
        if stamp is not None and not stamped:
            stamped, shift = True, Fraction(0) if last is None else last + usual - stamp
        at = None if stamp is None else stamp + shift
        if held and held[0][1] is not None and last is not None and held[0][1] > last:
            # one far ahead waits; it is right if the next one is later still
            if at is None or at > held[0][1]:
                last = held[0][1]
                yield held.pop(0)[0], last
            else:
                held[0] = (held[0][0], None)
        if last is None:
            last = Fraction(0) if at is None else at
            yield item, last
        elif at is None and not held:
            last += usual
            yield item, last
        elif at is None or at <= last or (not held and at - last > max(Fraction(_FAR), 10 * usual)):
            held.append((item, at))
            if len(held) >= _MOST_HELD:
                first, end = held[0][1], held[-1][1]
                for one, _ in held:
                    last += usual
                    yield one, last
                if first is not None and end is not None and end > first:
                    shift += last - end
                held = []
        else:
            step = (at - last) / (len(held) + 1)
            for place, (one, _) in enumerate(held, 1):
                yield one, last + place * step
            held, last = [], at
            yield item, last
    for one, at in held:
        assert last is not None
        last = at if at is not None and at > last else last + usual
        yield one, last


def is_uneven(times: Sequence[Fraction] | Seconds, rate: Fraction, tick: Fraction) -> bool:
    """Whether frames leave an even grid by more than rounding to the container's ticks explains.

    Args:
        times: of all frames in showing order, seconds.
        rate: of the grid, frames a second.
        tick: the container's smallest step, seconds.
    """
    if len(times) < 3:
        return False
    seconds, frame, step = _from_first(times), float(1 / rate), float(tick)
    gaps = np.diff(seconds)
    usual = float(np.median(gaps))
    if float(np.abs(gaps - usual).max()) > max(2 * step, 0.25 * usual) + 1e-9:
        return True
    return float(np.abs(seconds - frame * np.arange(len(times))).max()) > 0.5 * frame + 2 * step


def even_rate(times: Sequence[Fraction] | Seconds, stated: Sequence[Fraction], tick: Fraction) -> Fraction | None:
    """The rate of frames that come evenly but for rounding to ticks; None if they do not.

    Of those that explain the times a stated one that is usual comes first, then the usual one (whole, or that times
    1000/1001, or half of it) that is next to the measured, then any stated one.

    Args:
        times: of all frames in showing order, seconds.
        stated: rates that the container names, frames a second.
        tick: the container's smallest step, seconds.
    """
    seconds = _from_first(times)
    if len(seconds) < 2:
        return None
    measured = (len(seconds) - 1) / float(seconds[-1])
    if measured > 2 * _HIGHEST_RATE:
        return None

    def explains(rate: Fraction, step: Fraction) -> bool:
        away = seconds - float(1 / rate) * np.arange(len(seconds))
        return float(away.max() - away.min()) <= 1.5 * float(step) + 1e-9

    near = {Fraction(round(measured * part), part) for part in (1, 2)}
    near |= {Fraction(round(measured / float(_NTSC) * part), part) * _NTSC for part in (1, 2)}
    usual = sorted((rate for rate in near if rate > 0), key=lambda rate: abs(float(rate) - measured))
    named = [rate for rate in stated if rate.denominator in (1, 2, 1001)]
    steps = (tick, max(tick, _MILLISECOND))  # who makes a file may have rounded more than it
    return next((rate for step in steps for rate in (*named, *usual, *stated) if explains(rate, step)), None)


def lasting(times: Sequence[Fraction] | Seconds, usual: Fraction) -> Fraction:
    """Seconds from the first frame to the end of the last one.

    Args:
        times: of all frames in showing order, seconds.
        usual: seconds that the last frame stays, where they tell nothing else.
    """
    seconds = _from_first(times)
    last = float(np.median(np.diff(seconds))) if len(seconds) > 1 else float(usual)
    return Fraction(float(seconds[-1]) + last).limit_denominator(10**6)


def _from_first(times: Sequence[Fraction] | Seconds) -> Seconds:
    seconds = np.asarray(times, np.float64)
    return np.asarray(seconds - seconds[0]) if len(seconds) else seconds


def on_grid(at: Fraction, rate: Fraction, slack: Fraction = Fraction(1, 4)) -> Fraction:
    """A moment moved to the nearest multiple of a frame's length, if that is near.

    Args:
        at: seconds.
        rate: frames a second.
        slack: how near, frames.
    """
    place = round(at * rate)
    return place / rate if abs(at * rate - place) <= slack else at
