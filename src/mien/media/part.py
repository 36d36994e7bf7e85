"""A part of a clip, or a clip at another rate: frames are chosen, none is made up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from mien.errors import InputError
from mien.media.clip import Clip
from mien.media.clock import is_uneven, lasting, on_grid


def part_of(
    clip: Clip, start: Fraction | None = None, end: Fraction | None = None, rate: Fraction | None = None
) -> Clip:
    """The frames of a clip that are shown in a stretch of time, at a rate.

    At another rate every new frame is the one that is nearest in time, so a clip keeps its length to half a frame.
    Frames of an even clip lie at whole multiples of a frame's length, whatever its container rounded them to.

    Args:
        clip: the whole.
        start: seconds, inclusive; None: from its beginning.
        end: seconds, exclusive; None: to its end.
        rate: frames a second; None: its own.

    Raises:
        InputError: if nothing is left.
    """
    if rate == clip.info.rate and not clip.info.variable_rate:
        rate = None
    if not start and end is None and rate is None:
        return clip
    cut = _Cut(clip, start or Fraction(0), end) if start or end is not None else clip
    return cut if rate is None else _Resampled(cut, rate)


def evened(clip: Clip, rate: Fraction | None = None) -> Clip:
    """The clip at an even rate: where frames are missing or late, the nearest stands in.

    For all that knows frames by number and not by time. Frames that lie evenly are left as they are.

    Args:
        clip: the clip.
        rate: frames a second; None: its own.
    """
    return _Resampled(clip, rate or clip.info.rate)


class _Cut(Clip):
    """Frames between two times."""

    def __init__(self, clip: Clip, start: Fraction, end: Fraction | None) -> None:
        super().__init__(clip.info)
        self._clip, self._from, self._to = clip, start, end
        self.warnings, self.tick = clip.warnings, clip.tick
        times = [time for time in clip.moments() if self._holds(time)]
        if not times:
            wanted = f"from {float(start):g}" + (" seconds on" if end is None else f" to {float(end):g} seconds")
            length = float(clip.info.duration or clip.count() / clip.info.rate)
            raise InputError(f"{clip.info.path} lasts {length:g} seconds and has no frame {wanted}: choose other times")
        self._settle(times)

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        times: list[Fraction] = []
        for frame, time in _even_times(self._clip):
            if self._to is not None and time >= self._to:
                break
            if self._holds(time):
                times.append(time)
                yield frame, time - times[0]
        if not times:
            raise InputError(f"{self.info.path} is damaged: it ends before the part that was asked for")
        self._settle(times)

    def count(self) -> int:
        return len(self._times)

    def moments(self) -> list[Fraction]:
        return [time - self._times[0] for time in self._times]

    def _holds(self, time: Fraction) -> bool:
        return time >= self._from and (self._to is None or time < self._to)

    def _settle(self, times: list[Fraction]) -> None:
        rate, self._times = self._clip.info.rate, times
        variable = is_uneven(times, rate, self.tick)
        length = lasting(times, 1 / rate) if variable else len(times) / rate
        self.start = self._clip.start + times[0]
        self.info = replace(self._clip.info, frames=len(times), duration=length, variable_rate=variable)


class _Resampled(Clip):
    """The same clip at an even rate."""

    def __init__(self, clip: Clip, rate: Fraction) -> None:
        super().__init__(clip.info)
        self._clip, self._rate = clip, rate
        self.warnings = clip.warnings
        self._settle()

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        number = 0
        current: tuple[np.ndarray, Fraction] | None = None
        for frame, time in _even_times(self._clip):
            if current is not None:
                middle = (current[1] + time) / 2
                while number / self._rate < middle:
                    yield current[0], number / self._rate
                    number += 1
            current = (frame, time)
        frames = self._settle()
        while current is not None and number < frames:
            yield current[0], number / self._rate
            number += 1

    def count(self) -> int:
        return self._settle()

    def _settle(self) -> int:
        """Note how many frames there are for what is known of the clip now; returns the number."""
        self.start = self._clip.start
        frames, info = self._clip.count(), self._clip.info
        made = max(1, math.floor((info.duration or frames / info.rate) * self._rate + Fraction(1, 2)))
        self.info = replace(info, rate=self._rate, frames=made, duration=made / self._rate, variable_rate=False)
        return made


def _even_times(clip: Clip) -> Iterator[tuple[np.ndarray, Fraction]]:
    """Frames with their times: exact multiples of the frame's length where they are even but for rounding."""
    last = Fraction(-1)
    for frame, time in clip.timed():
        placed = time if clip.info.variable_rate else on_grid(time, clip.info.rate)
        last = placed if placed > last else time
        yield frame, last
