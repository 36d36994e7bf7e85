"""What DeX-Portrait's encoders are shown, and what is kept from them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mien.motion.inputs import TurnedCrop, face_crop, face_oval, masked_frame
from samples import DrawnFaceReader, draw_face


def face(mouth: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    picture = draw_face(128, 128, mouth=0.0)
    reading = DrawnFaceReader().read(picture)
    assert reading is not None
    landmarks = reading.landmarks.astype(np.float64).copy()
    if mouth:  # an open mouth and a fallen chin, in the picture and in the landmarks
        cv2.ellipse(picture, (64, 81), (9, 7), 0, 0, 360, (250, 10, 10), -1)
        landmarks[48:68, 1] += 4
        landmarks[5:12, 1] += 5
    return picture, landmarks


def test_the_pose_encoder_sees_no_mouth() -> None:
    """Bit for bit the same picture, whatever mouth and chin do."""
    closed, opened = (masked_frame(*face(mouth)) for mouth in (0.0, 1.0))
    np.testing.assert_array_equal(closed, opened)


def test_the_pose_encoder_sees_no_eyes_but_the_rest() -> None:
    picture, landmarks = face()
    masked = masked_frame(picture, landmarks)
    for place in (landmarks[36:42].mean(0), landmarks[42:48].mean(0), landmarks[48:68].mean(0)):
        x, y = place.astype(int)
        assert (masked[y - 2 : y + 3, x - 2 : x + 3] == 128).all()
    assert masked.shape == picture.shape
    changed = (masked != picture).any(2).mean()
    assert 0.02 < changed < 0.3


def test_the_mask_turns_with_the_head() -> None:
    picture, landmarks = face()
    turn = cv2.getRotationMatrix2D((63.5, 63.5), 90, 1)
    turned = cv2.warpAffine(masked_frame(picture, landmarks), turn, (128, 128))
    points = (landmarks - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5
    again = masked_frame(cv2.warpAffine(picture, turn, (128, 128)), points)
    assert (np.abs(turned.astype(int) - again).max(2) > 20).mean() < 0.01


@pytest.mark.parametrize(("shift", "zoom"), [((15, -9), 1.0), ((0, 0), 0.6)])
def test_the_expression_crop_tells_neither_place_nor_size(shift: tuple[int, int], zoom: float) -> None:
    picture, landmarks = face()
    move = np.array([[zoom, 0, 64 * (1 - zoom) + shift[0]], [0, zoom, 64 * (1 - zoom) + shift[1]]])
    moved = cv2.warpAffine(picture, move, (128, 128), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    points = (landmarks - 0.5) @ move[:, :2].T + move[:, 2] + 0.5
    difference = np.abs(face_crop(picture, landmarks, 48).astype(int) - face_crop(moved, points, 48))
    assert difference.mean() < 6


def test_a_turned_crop_is_the_crop_of_a_turned_picture() -> None:
    picture, landmarks = face()
    turn = cv2.getRotationMatrix2D((63.5, 63.5), 30, 1)
    turned = cv2.warpAffine(picture, turn, (128, 128), borderMode=cv2.BORDER_REPLICATE)
    points = (landmarks - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5
    difference = np.abs(face_crop(picture, landmarks, 48, 30.0).astype(int) - face_crop(turned, points, 48))
    assert difference.mean() < 4
    assert np.abs(face_crop(picture, landmarks, 48, -30.0).astype(int) - face_crop(turned, points, 48)).mean() > 5


def test_the_oval_is_the_face() -> None:
    picture, landmarks = face()
    mask = face_oval(landmarks, 128)
    skin = (picture[..., 0].astype(int) - picture[..., 2] > 40).astype(float)
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert (mask * skin).sum() / skin.sum() > 0.75
    assert (mask * (1 - skin)).sum() / mask.sum() < 0.35


def turned_face(degrees: float) -> tuple[np.ndarray, np.ndarray]:
    picture, landmarks = face()
    turn = cv2.getRotationMatrix2D((63.5, 63.5), degrees, 1)
    turned = cv2.warpAffine(picture, turn, (128, 128), borderMode=cv2.BORDER_REPLICATE)
    return turned, (landmarks - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5


@pytest.mark.parametrize("degrees", [-40.0, 25.0])
def test_an_upright_crop_of_a_turned_picture_is_that_of_the_picture(degrees: float) -> None:
    (picture, landmarks), (turned, points) = face(), turned_face(degrees)
    before, after = TurnedCrop.upright(landmarks), TurnedCrop.upright(points)
    assert after.angle - before.angle == pytest.approx(-np.radians(degrees), abs=1e-6)  # clockwise as it is seen
    assert after.half == pytest.approx(before.half, rel=1e-6)
    difference = np.abs(before.extract(picture, 64).astype(int) - after.extract(turned, 64))
    assert difference.mean() < 3
    np.testing.assert_allclose(after.points_in(points, 64), before.points_in(landmarks, 64), atol=1e-6)


def test_no_lid_lip_or_chin_moves_an_upright_crop() -> None:
    _, closed = face()
    _, opened = face(1.0)
    opened[[37, 38, 43, 44], 1] += 2
    opened[[40, 41, 46, 47], 1] -= 2
    one, two = TurnedCrop.upright(closed), TurnedCrop.upright(opened)
    np.testing.assert_allclose(two.middle, one.middle, atol=1e-6)
    assert (two.half, two.angle) == pytest.approx((one.half, one.angle))


def test_points_of_an_upright_crop_lie_where_it_shows_them() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[60:63, 30:33] = 255
    crop = TurnedCrop(np.array([45.0, 52.0]), 30.0, 0.4)
    shown = crop.extract(picture, 120).mean(2)
    seen = np.argwhere(shown > 128).mean(0)[::-1] + 0.5
    np.testing.assert_allclose(crop.points_in(np.array([[31.5, 61.5]]), 120)[0], seen, atol=0.6)
    angle, x, y, half = crop.similarity(100)
    assert (angle, x, y, half) == pytest.approx((0.4, -0.1, 0.04, 0.6))
