"""A drawn person in front of stripes, taken apart into layers and moved."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mien.animation.layers import HeadLayer, filled_background
from plain_face import plain_keypoints

SIDE = 160


def keypoints(centre: tuple[float, float] = (80.0, 70.0)) -> np.ndarray:
    return plain_keypoints(centre, 22.0)


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """A picture [160, 160, 3] and its person mask: head with hair, neck, shoulders; green and blue stripes behind."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, :, 1], picture[:, ::8, 2] = 120, 200
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(mask, (80, 66), (27, 36), 0, 0, 360, 255, -1)
    cv2.rectangle(mask, (70, 95), (90, 125), 255, -1)
    cv2.ellipse(mask, (80, 165), (60, 45), 0, 0, 360, 255, -1)
    picture[mask > 0] = (220, 160, 130)
    cv2.ellipse(picture, (80, 50), (26, 20), 0, 180, 360, (60, 30, 10), -1)
    for x, y in keypoints()[68:]:
        cv2.circle(picture, (int(x), int(y)), 2, (10, 10, 10), -1)
    return picture, mask.astype(np.float32) / 255


def test_a_head_that_does_not_move_is_the_portrait_to_the_pixel(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = drawn
    head = HeadLayer.cut(picture, mask, keypoints())
    moved = head.moved(keypoints())
    assert not moved.laid.any()
    assert np.array_equal(head.over_background(moved), picture)


def test_what_moves_is_the_head_nothing_else(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = drawn
    head = HeadLayer.cut(picture, mask, keypoints())
    made = head.over_background(head.moved(keypoints((92.0, 68.0))))
    assert np.array_equal(made[:115, :35], picture[:115, :35]), "background beside the head"
    assert np.array_equal(made[140:], picture[140:]), "the body"
    dark = np.argwhere(made[55:75].max(2) < 60) + [55, 0]
    assert dark[:, 1].mean() == pytest.approx(92, abs=1.5), "the pupils have moved with the head"
    left = made[60, 54:60].astype(int)
    assert (left[:, 1] > left[:, 0] + 40).all(), "where the head was, the background is filled in: green, not skin"


def test_hair_that_the_border_cuts_is_not_drawn_out(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = drawn
    picture, mask = picture[35:], mask[35:]  # the upper border cuts the hair
    own = keypoints((80.0, 35.0))
    picture = picture.copy()
    picture[1:12:3, 60:100] = (160, 120, 90)  # strands across, which a border that is repeated would lose
    head = HeadLayer.cut(picture, mask, own)
    made = head.over_background(head.moved(own + [0.0, 8.0])).astype(int)
    columns = made[:6, 62:98]
    assert np.abs(np.diff(columns, axis=0)).mean() > 3, "rows differ: they are mirrored, not one row repeated"


def test_flow_follows_the_keypoints_in_the_face_and_is_rigid_around_it(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = drawn
    head = HeadLayer.cut(picture, mask, keypoints())
    driven = keypoints()
    driven[48:68, 1] += 3  # the mouth goes down, the head stays
    at = driven[48:68].mean(0)
    assert head.flow(driven, at)[1] == pytest.approx(at[1] - 3, abs=0.6)
    top = np.array([80.0, 32.0])
    np.testing.assert_allclose(head.flow(driven, top), top, atol=0.3)


def test_background_is_known_where_nobody_hides_it_and_smooth_behind(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    picture, mask = drawn
    filled = filled_background(picture, mask)
    np.testing.assert_allclose(filled[:40, :30], picture[:40, :30], atol=0.5)
    behind = filled[60:80, 70:90]
    assert behind[..., 1].mean() == pytest.approx(120, abs=15), "green, as around the head"
    assert behind.std(axis=(0, 1)).max() < 12, "large holes are smooth"


def test_a_picture_full_of_person_stays_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    assert np.array_equal(filled_background(picture, np.ones((40, 40), np.float32)), picture)
