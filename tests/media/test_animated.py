"""Animated pictures are clips with the times that their files state."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from media_samples import corners, number_of, numbered
from mien.errors import InputError
from mien.media import open_clip, read_image
from mien.media.kind import kind_of

SUFFIXES = ("webp", "png")


def animate(path: Path, durations: int | list[int], count: int = 5, **more: Any) -> Path:
    pictures = [Image.fromarray(numbered(4 * i)) for i in range(count)]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **options, **more)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_picture_comes_at_its_time(tmp_path: Path, suffix: str) -> None:
    path = animate(tmp_path / f"a.{suffix}", 40)
    assert kind_of(path) == "animation"
    clip = open_clip(path)
    assert (clip.info.kind, clip.info.rate, clip.info.variable_rate) == ("video", 25, False)
    assert clip.info.frames == clip.count() == 5 and clip.info.duration == Fraction(1, 5)
    for _ in range(2):
        timed = list(clip.timed())
        assert [number_of(frame) for frame, _ in timed] == [0, 4, 8, 12, 16]
        assert [time for _, time in timed] == [Fraction(i, 25) for i in range(5)]
    assert number_of(read_image(path)) == 0  # as a portrait: the first


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_uneven_times_are_kept(tmp_path: Path, suffix: str) -> None:
    clip = open_clip(animate(tmp_path / f"a.{suffix}", [100, 300, 50, 20, 530]))
    assert clip.info.variable_rate and clip.info.rate == 5
    assert [time for _, time in clip.timed()] == [Fraction(n, 100) for n in (0, 10, 40, 45, 47)]


def test_thirty_a_second_in_thousandths_is_thirty(tmp_path: Path) -> None:
    clip = open_clip(animate(tmp_path / "a.webp", [33, 33, 34, 33, 33]))
    assert clip.info.rate == 30 and not clip.info.variable_rate


def test_pictures_without_a_duration_are_held_as_browsers_hold_them(tmp_path: Path) -> None:
    assert open_clip(animate(tmp_path / "a.webp", 0)).info.rate == 10


def test_a_png_s_picture_for_programs_that_cannot_animate_is_left_out(tmp_path: Path) -> None:
    path = animate(tmp_path / "a.png", 50, default_image=True)
    clip = open_clip(path)
    assert [number_of(frame) for frame in clip] == [4, 8, 12, 16]


def test_one_picture_is_no_animation(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = animate(tmp_path / f"a.{suffix}", 50, count=1)
        assert kind_of(path) == "image" and open_clip(path).info.kind == "image"


def test_avif(tmp_path: Path) -> None:
    Image.init()
    if "AVIF" not in Image.SAVE_ALL:
        pytest.skip("this Pillow writes no animated AVIF")
    clip = open_clip(animate(tmp_path / "a.avif", 40, quality=90))
    assert (clip.info.kind, clip.count(), clip.info.rate) == ("video", 5, 25)
    assert [number_of(frame) for frame in clip] == [0, 4, 8, 12, 16]


def test_parts_of_pictures_and_transparency_are_laid_together(tmp_path: Path) -> None:
    """Animations store what has changed; what is clear shows the picture before, or white."""
    first = Image.fromarray(np.dstack([corners(), np.full((32, 64), 255, np.uint8)]))
    clear = Image.new("RGBA", (64, 32), (0, 0, 0, 0))
    first.save(tmp_path / "a.png", save_all=True, append_images=[clear], duration=100, blend=0, disposal=0)
    one, other = open_clip(tmp_path / "a.png")
    assert np.array_equal(one, corners()) and (other == 255).all()
    clear.putpixel((3, 3), (10, 20, 30, 255))
    first.save(tmp_path / "b.png", save_all=True, append_images=[clear], duration=100, blend=1, disposal=0)
    _, over = open_clip(tmp_path / "b.png")
    assert over[3, 3].tolist() == [10, 20, 30] and np.array_equal(over[8:], corners()[8:])


def test_an_animation_that_was_cut_off_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)) for _ in range(6)]
    for suffix in SUFFIXES:
        path = tmp_path / f"a.{suffix}"
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
        try:
            clip = open_clip(path)
            assert 1 <= len(list(clip)) <= 6
        except InputError as error:
            assert f"a.{suffix}" in str(error)
