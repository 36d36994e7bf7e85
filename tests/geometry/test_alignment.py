from __future__ import annotations

import numpy as np
import pytest

from mien.geometry import align_frame, driver_alignment


def test_boxes_meet(face: np.ndarray) -> None:
    source, driver = face * [0.2, 0.3] + [0.5, 0.4], face * [0.1, 0.1] + [0.3, 0.6]
    matrix = driver_alignment(source, driver)
    assert matrix[0, 1] == 0 and matrix[1, 0] == 0
    moved = driver @ matrix[:, :2].T + matrix[:, 2]
    assert moved == pytest.approx(source, abs=1e-6)


def test_aligned_pixels_land_on_the_source(face: np.ndarray) -> None:
    source, driver = face * 0.2 + [0.55, 0.5], face * 0.15 + [0.4, 0.4]
    frame = np.zeros((128, 128, 3), np.uint8)
    x, y = (driver[30] * 128).astype(int)
    frame[y - 2 : y + 3, x - 2 : x + 3] = 255
    for size in (64, 128, 200):
        warped = align_frame(frame, driver_alignment(source, driver), size)[..., 0].astype(float)
        assert warped.shape == (size, size)
        rows, columns = np.mgrid[:size, :size] + 0.5
        centre = np.array([(warped * columns).sum(), (warped * rows).sum()]) / warped.sum() / size
        assert centre == pytest.approx(source[30], abs=0.012)


def test_identity_keeps_the_frame_and_border_is_repeated(face: np.ndarray) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    still = driver_alignment(face, face)
    assert np.array_equal(align_frame(frame, still, 32), frame)
    shrink = np.array([[0.5, 0, 0.25], [0, 0.5, 0.25]])
    white = np.full((32, 32, 3), 255, np.uint8)
    assert (align_frame(white, shrink, 32) == 255).all()
    assert (align_frame(white, shrink, 32, border="zeros")[:4] == 0).all()


def test_only_squares(face: np.ndarray) -> None:
    with pytest.raises(ValueError, match="square"):
        align_frame(np.zeros((10, 12, 3), np.uint8), driver_alignment(face, face), 8)
