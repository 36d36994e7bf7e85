"""Parts of clips and clips at other rates: which frames, when, how many."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from media_samples import make_video, number_of, numbered
from mien.errors import InputError
from mien.media import Clip, open_clip, part_of, write_image

UNEVEN = [Fraction(n, 12800) for n in (0, 400, 1100, 1300, 2500, 2900, 3000, 4100)]


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    return open_clip(make_video(tmp_path / "a.mkv", [numbered(i) for i in range(24)], Fraction(24000, 1001)))


def numbers(clip: Clip) -> list[int]:
    """The numbers of its frames, with all that a clip promises checked."""
    found = list(clip.timed())
    times = [time for _, time in found]
    assert times[0] == 0 and all(a < b for a, b in zip(times, times[1:], strict=False))
    assert len(found) == clip.count() == clip.info.frames
    assert times == clip.moments()
    if clip.info.variable_rate:
        assert clip.info.duration is not None and times[-1] < clip.info.duration < times[-1] + Fraction(1, 5)
    else:
        assert clip.info.duration == clip.count() / clip.info.rate
    return [number_of(frame) for frame in clip]


def test_nothing_asked_for_is_the_clip_itself(clip: Clip) -> None:
    assert part_of(clip) is clip
    assert part_of(clip, rate=clip.info.rate) is clip


def test_frames_from_start_to_before_the_end(clip: Clip) -> None:
    rate = clip.info.rate
    part = part_of(clip, 5 / rate, 9 / rate)  # both exactly on a frame
    assert numbers(part) == [5, 6, 7, 8]
    assert part.start == 5 / rate and part.info.rate == rate
    between = part_of(clip, Fraction(21, 100), Fraction(3, 10))  # frame 5 is at 0.2085, frame 7 at 0.292 seconds
    assert numbers(between) == [6, 7] and between.start == 6 / rate
    assert numbers(part_of(clip, 20 / rate)) == [20, 21, 22, 23]
    assert numbers(part_of(clip, end=Fraction(1000))) == list(range(24))


def test_a_clip_of_uneven_times_is_cut_by_them(tmp_path: Path) -> None:
    clip = open_clip(make_video(tmp_path / "a.mp4", [numbered(i) for i in range(8)], times=UNEVEN))
    part = part_of(clip, Fraction(1000, 12800), Fraction(2900, 12800))
    assert numbers(part) == [2, 3, 4]
    assert part.start == UNEVEN[2]
    assert [time for _, time in part.timed()] == [time - UNEVEN[2] for time in UNEVEN[2:5]]


def test_another_rate_keeps_the_length(clip: Clip) -> None:
    double = part_of(clip, rate=Fraction(48000, 1001))
    assert numbers(double) == [0] + [(i + 1) // 2 for i in range(1, 48)][:-1] + [23]
    half = part_of(clip, rate=Fraction(12000, 1001))
    assert len(numbers(half)) == 12 and half.info.duration == clip.info.duration
    even = part_of(clip, rate=Fraction(25))
    assert len(numbers(even)) == 25 and abs(even.info.duration - clip.info.duration) <= Fraction(1, 50)
    assert numbers(even)[:12] == list(range(12))  # at frame k the nearest is k until the clocks are half a frame apart


def test_uneven_times_become_even(tmp_path: Path) -> None:
    clip = open_clip(make_video(tmp_path / "a.mp4", [numbered(i) for i in range(8)], times=UNEVEN))
    even = part_of(clip, rate=Fraction(25))
    assert not even.info.variable_rate
    assert numbers(even)[:5] == [0, 1, 2, 3, 4]  # nearest to 0, 512, 1024, 1536 and 2048 of 12800


def test_cut_then_resampled(clip: Clip) -> None:
    part = part_of(clip, 4 / clip.info.rate, 8 / clip.info.rate, clip.info.rate * 2)
    assert part.start == 4 / clip.info.rate
    assert numbers(part) == [4, 5, 5, 6, 6, 7, 7, 7]


def test_what_is_empty_is_said(clip: Clip, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lasts 1.001 seconds and has no frame from 3 seconds on"):
        part_of(clip, Fraction(3))
    with pytest.raises(InputError, match=r"no frame from 0.01 to 0.02 seconds"):
        part_of(clip, Fraction(1, 100), Fraction(1, 50))
    still = open_clip(write_image(tmp_path / "a.png", numbered(0)))
    with pytest.raises(InputError, match="no frame"):
        part_of(still, Fraction(1))
