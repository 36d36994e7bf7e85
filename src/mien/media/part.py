"""A part of a clip, or a clip at another rate: frames are chosen, none is made up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count as counted

import numpy as np

from mien.errors import InputError
from mien.media.clip import Clip


def part_of(
    clip: Clip, start: Fraction | None = None, end: Fraction | None = None, rate: Fraction | None = None
) -> Clip:
    """The frames of `clip` shown from `start` (inclusive) to `end` (exclusive) seconds, at `rate` frames a second.

    None: from its beginning, to its end, at its own rate. At another rate every new frame is the one that is nearest in
    time, so a clip keeps its length to half a frame. Frames of a clip with an even rate lie at whole multiples of it,
    whatever its container rounded them to. Raises InputError if nothing is left.
    """
    if rate == clip.info.rate and not clip.info.variable_rate:
        rate = None
    if not start and end is None and rate is None:
        return clip
    cut = _Cut(clip, start or Fraction(0), end) if start or end is not None else clip
    return cut if rate is None else _Resampled(cut, rate)


class _Cut(Clip):
    """Frames between two times."""

    def __init__(self, clip: Clip, start: Fraction, end: Fraction | None) -> None:
        super().__init__(clip.info)
        self._clip = clip
        self.warnings = clip.warnings
        self._first, self._after, begun = _range(clip, start, end)
        if self._after <= self._first:
            wanted = f"from {float(start):g}" + (" seconds on" if end is None else f" to {float(end):g} seconds")
            length = float(clip.count() / clip.info.rate)
            raise InputError(f"{clip.info.path} lasts {length:g} seconds and has no frame {wanted}: choose other times")
        self.start = clip.start + begun
        self._settle(self._after - self._first)

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        origin, done = None, 0
        for index, (frame, time) in enumerate(_even_times(self._clip)):
            if index >= self._after:
                break
            if index >= self._first:
                origin = time if origin is None else origin
                done += 1
                yield frame, time - origin
        if done == 0:
            raise InputError(f"{self.info.path} is damaged: it ends before the part that was asked for")
        self._settle(done)

    def count(self) -> int:
        return self._after - self._first if self.info.frames is None else self.info.frames

    def _settle(self, frames: int) -> None:
        self.info = replace(self._clip.info, frames=frames, duration=frames / self._clip.info.rate)


class _Resampled(Clip):
    """The same clip at an even rate."""

    def __init__(self, clip: Clip, rate: Fraction) -> None:
        super().__init__(clip.info)
        self._clip, self._rate = clip, rate
        self.warnings, self.start = clip.warnings, clip.start
        self._settle(clip.count())

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        number = 0
        current: tuple[np.ndarray, Fraction] | None = None
        shown = 0
        for frame, time in _even_times(self._clip):
            if current is not None:
                middle = (current[1] + time) / 2
                while number / self._rate < middle:
                    yield current[0], number / self._rate
                    number += 1
            current, shown = (frame, time), shown + 1
        frames = self._settle(shown)
        while current is not None and number < frames:
            yield current[0], number / self._rate
            number += 1

    def count(self) -> int:
        return self._settle(self._clip.count())

    def _settle(self, frames: int) -> int:
        """Note how many frames there are where the clip has `frames`; returns the number."""
        made = max(1, math.floor(frames * self._rate / self._clip.info.rate + Fraction(1, 2)))
        self.info = replace(
            self._clip.info, rate=self._rate, frames=made, duration=made / self._rate, variable_rate=False
        )
        return made


def _even_times(clip: Clip) -> Iterable[tuple[np.ndarray, Fraction]]:
    """Frames with their times: exact multiples of the frame's length where the rate is even."""
    if clip.info.variable_rate:
        return clip.timed()
    return zip(clip, (index / clip.info.rate for index in counted()), strict=False)


def _range(clip: Clip, start: Fraction, end: Fraction | None) -> tuple[int, int, Fraction]:
    """First frame, the one after the last, and the time of the first. An uneven clip is read once to find them."""
    if not clip.info.variable_rate:
        rate, frames = clip.info.rate, clip.count()
        first = math.ceil(start * rate)
        return first, frames if end is None else min(frames, math.ceil(end * rate)), first / rate
    times = [time for _, time in clip.timed()]
    inside = [index for index, time in enumerate(times) if time >= start and (end is None or time < end)]
    return (inside[0], inside[-1] + 1, times[inside[0]]) if inside else (0, 0, start)
