from __future__ import annotations

import math

import numpy as np
import pytest

from mien.geometry import SquareCrop, TurnedSquare


def test_without_roll_it_is_a_plain_crop() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    square = TurnedSquare(40, 30, 32, 0.0)
    assert np.array_equal(square.extract(image, 32), image[14:46, 24:56])
    assert np.allclose(square.points_in(np.array([[40, 30], [24, 14]]), 32), [[16, 16], [0, 0]])


@pytest.mark.parametrize("size", [24, 64, 200])
def test_points_follow_the_pixels(size: int) -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    image[96:104, 246:254] = 255  # a dot centred at (250, 100)
    square = TurnedSquare(220, 120, 130, math.radians(25))
    seen = square.extract(image, size)[..., 0].astype(float)
    rows, columns = np.mgrid[:size, :size] + 0.5
    centre = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
    assert np.allclose(centre, square.points_in(np.array([250.0, 100.0]), size), atol=0.02 * size)
    assert np.allclose(square.points_out(square.points_in(np.array([[7.0, 9.0]]), size), size), [[7, 9]], atol=1e-3)


def test_faces_come_out_upright(face: np.ndarray) -> None:
    tilt = math.radians(30)  # counter-clockwise in the picture: y points down
    turn = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    square = TurnedSquare.around(face @ turn.T * 50 + [200, 150], 1.5)
    assert square.roll == pytest.approx(tilt, abs=1e-3)
    upright = square.points_in(face @ turn.T * 50 + [200, 150], 128)
    assert upright[42:48, 1].mean() == pytest.approx(upright[36:42, 1].mean(), abs=0.1)
    assert np.ptp(upright, axis=0).max() == pytest.approx(128 / 1.5, rel=1e-3)


def test_beyond_the_picture() -> None:
    image = np.full((20, 20, 3), 90, np.uint8)
    assert (TurnedSquare(-60, 400, 50, 0.3).extract(image, 16) == 90).all()
    assert (TurnedSquare(10, 10, 500, 0.3).extract(image, 16) == 90).all()
    assert SquareCrop(0, 0, 20).extract(image, 16).shape == (16, 16, 3)
