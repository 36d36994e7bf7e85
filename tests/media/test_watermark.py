"""The mark cannot be seen, outlives coding, scaling and cut edges, and is not found where it is not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.media import VideoWriter, open_clip, read_image
from mien.media.watermark import SURE, SURE_CUT, marked, read_mark
from samples import RENDERED


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    picture = cv2.resize(read_image(RENDERED / "portrait_1.png"), (256, 256), interpolation=cv2.INTER_AREA)
    return [np.roll(picture, 3 * index, axis=1) for index in range(6)]


def written(path: Path, frames: list[np.ndarray], quality: int = 17) -> list[np.ndarray]:
    height, width = frames[0].shape[:2]
    with VideoWriter(path, rate=Fraction(25), size=(width, height), quality=quality, watermark=True) as writer:
        for frame in frames:
            writer.write(frame)
    return list(open_clip(path))


def test_it_cannot_be_seen_and_is_always_the_same(frames: list[np.ndarray]) -> None:
    once, again = marked(frames[0]), marked(frames[0])
    np.testing.assert_array_equal(once, again)
    change = once.astype(int) - frames[0]
    assert np.abs(change).max() <= 2
    assert 10 * np.log10(255**2 / (change**2).mean()) > 46
    assert abs(change.mean()) < 0.1  # the picture is neither brighter nor darker


@pytest.mark.parametrize(("suffix", "quality"), [("mp4", 17), ("mp4", 23), ("webm", 17), ("gif", 17)])
def test_it_outlives_coding(frames: list[np.ndarray], tmp_path: Path, suffix: str, quality: int) -> None:
    back = written(tmp_path / f"a.{suffix}", frames, quality)
    assert read_mark(back[:1], cut=False)[0]
    assert read_mark(back, cut=False)[1] > 1.5 * SURE


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.7])
def test_it_outlives_scaling(frames: list[np.ndarray], tmp_path: Path, scale: float) -> None:
    back = written(tmp_path / "a.mp4", frames)
    sizes = [cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for frame in back]
    assert read_mark(sizes, cut=False)[0]


def test_it_outlives_cut_edges(frames: list[np.ndarray], tmp_path: Path) -> None:
    back = [frame[11:-14, 5:-25] for frame in written(tmp_path / "a.mp4", frames)]
    found, score = read_mark(back)
    assert found and score > 1.5 * SURE_CUT
    assert not read_mark(back, cut=False)[0]


def test_it_is_not_found_where_it_is_not(frames: list[np.ndarray]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    for picture in (noise, np.full((120, 120, 3), 90, np.uint8), read_image(RENDERED / "portrait_2.png")):
        found, score = read_mark([picture])
        assert not found and score < SURE
    assert not read_mark(frames, cut=False)[0]


def test_small_pictures_are_left_as_they_are() -> None:
    small = np.zeros((95, 300, 3), np.uint8)
    assert marked(small) is small
    with pytest.raises(ValueError, match="no picture"):
        read_mark([])
