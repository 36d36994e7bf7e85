from __future__ import annotations

import numpy as np
import pytest

from mien.geometry import SquareCrop, driver_crop, portrait_crop


def test_extract_whole_pixels_is_exact() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    assert np.array_equal(SquareCrop(10, 5, 20).extract(image, 20), image[5:25, 10:30])


def test_extract_over_the_border_repeats_it() -> None:
    image = np.full((20, 20, 3), 80, np.uint8)
    image[:, 0] = 200
    square = SquareCrop(-16, -16, 40).extract(image, 40)
    assert (square[:, :12] == 200).all() and (square[20, 24:] == 80).all()
    far = SquareCrop(500, 500, 30).extract(image, 15)  # wholly outside: still a picture, of the border
    assert far.shape == (15, 15, 3) and (far == 80).all()


def test_points_go_in_and_out() -> None:
    crop = SquareCrop(-3.5, 10.25, 77.0)
    points = np.random.default_rng(1).uniform(0, 100, (68, 2)).astype(np.float32)
    assert np.allclose(crop.points_out(crop.points_in(points, 512), 512), points, atol=1e-4)
    assert np.allclose(crop.points_in(np.array([[-3.5 + 77 / 2, 10.25 + 77 / 2]]), 512), [[256, 256]])


def test_points_follow_the_pixels() -> None:
    image = np.zeros((100, 140, 3), np.uint8)
    image[60:64, 90:94] = 255  # a dot centred at (92, 62)
    crop = SquareCrop(52.0, 12.0, 80.0)
    small = crop.extract(image, 40)[..., 0].astype(float)
    rows, columns = np.mgrid[:40, :40] + 0.5
    centre = np.array([(small * columns).sum(), (small * rows).sum()]) / small.sum()
    assert np.allclose(centre, crop.points_in(np.array([92.0, 62.0]), 40), atol=0.1)


def test_portrait_crop_shows_shoulders_and_stays_inside(face: np.ndarray) -> None:
    crop = portrait_crop(face * 100 + [900, 700], 1920, 1080)
    assert crop.size == pytest.approx(2.5 * np.ptp(face * 100, axis=0).max(), rel=1e-3)
    assert crop.x >= 0 and crop.y >= 0 and crop.y + crop.size <= 1080
    assert crop.y + crop.size > (face * 100)[:, 1].max() + 700 + 100  # room below the chin
    edge = portrait_crop(face * 100 + [110, 110], 1920, 1080)
    assert edge.x == 0 and edge.y == 0 and edge.size == pytest.approx(crop.size, rel=1e-3)


def test_portrait_crop_of_a_face_that_fills_the_picture(face: np.ndarray) -> None:
    tight = portrait_crop(face * 100 + [150, 110], 300, 220)  # no room for shoulders: the short side is taken
    assert tight.size == pytest.approx(max(220, 1.3 * np.ptp(face, axis=0).max() * 100))
    larger = portrait_crop(face * 100 + [100, 100], 180, 180)  # the face itself needs more than the picture
    assert larger.size > 180 and larger.x <= 0 and larger.y <= 0 and larger.x + larger.size >= 180


def test_driver_crop_holds_every_frame(face: np.ndarray) -> None:
    tracks = [face * 50 + [300 + 10 * i, 400] for i in range(20)] + [None]
    crop = driver_crop(tracks, 1280, 720)
    for points in tracks[:-1]:
        inside = crop.points_in(points, 1)
        assert inside.min() > 0.05 and inside.max() < 0.95
    assert crop.x >= 0 and crop.x + crop.size <= 1280 and crop.y >= 0 and crop.y + crop.size <= 720
    still = driver_crop([face * 50 + [300, 400]] * 3, 1280, 720)
    assert still == portrait_crop(face * 50 + [300, 400], 1280, 720)


def test_driver_crop_without_faces_is_the_middle() -> None:
    assert driver_crop([None, None], 300, 200) == SquareCrop(50, 0, 200)
