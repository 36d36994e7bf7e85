"""The window around a face, and the driver laid into it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mien.geometry.face_window import (
    FaceWindow,
    changed_parts,
    eyes_and_mouth,
    local_view,
    opened_parts,
    rectified_driver,
    sample,
    warp_into,
)
from mien.geometry.moving_least_squares import moving_least_squares, similarity
from plain_face import plain_keypoints


def face(centre: tuple[float, float] = (100, 100), size: float = 40, turned: float = 0.0) -> np.ndarray:
    return plain_keypoints(centre, size, turned)[:68]


def test_window_turns_and_grows_with_the_face() -> None:
    plain, tilted = FaceWindow.around(face()), FaceWindow.around(face((150, 90), 80, 0.3))
    assert plain.half == pytest.approx(0.65 * np.ptp(face(), axis=0).max())
    assert tilted.half == pytest.approx(2 * plain.half, rel=1e-3)
    assert np.arctan2(*tilted.along[::-1]) == pytest.approx(0.3, abs=1e-6)
    np.testing.assert_allclose(plain.inside(face()), tilted.inside(face((150, 90), 80, 0.3)), atol=1e-5)


def test_window_holds_the_face_and_room_for_an_open_mouth() -> None:
    inside = FaceWindow.around(face()).inside(face())
    assert np.abs(inside).max() < 0.95
    assert inside[8, 1] < 0.75, "the chin may still go down"


def test_matrix_and_places_say_the_same() -> None:
    window, side, zoom = FaceWindow.around(face(turned=0.4)), 32, 1.7
    places = window.places(side)
    indices = places.reshape(-1, 2) * zoom - 0.5
    seen = np.c_[indices, np.ones(len(indices))] @ window.matrix(side, zoom).T
    rows, columns = np.mgrid[0:side, 0:side]
    np.testing.assert_allclose(seen.reshape(side, side, 2), np.stack([columns, rows], -1), atol=1e-3)


def test_moving_least_squares_keeps_affine_maps_and_anchors() -> None:
    rng = np.random.default_rng(0)
    anchors = rng.uniform(0, 100, (20, 2))
    matrix, shift = np.array([[1.2, 0.3], [-0.2, 0.8]]), np.array([5.0, -7])
    places = rng.uniform(0, 100, (4, 5, 2))
    moved = moving_least_squares(anchors, anchors @ matrix.T + shift, places)
    np.testing.assert_allclose(moved, places @ matrix.T + shift, atol=0.1)
    bent = anchors + rng.normal(size=anchors.shape)
    np.testing.assert_allclose(moving_least_squares(anchors, bent, anchors), bent, atol=0.3)


def test_similarity_finds_turn_scale_and_shift() -> None:
    matrix, shift = similarity(face(), face((130, 60), 60, 0.5))
    np.testing.assert_allclose(face() @ matrix.T + shift, face((130, 60), 60, 0.5), atol=1e-6)


def test_what_the_driver_does_lies_where_the_portrait_must_do_it() -> None:
    """A dot on the driver's left pupil appears between the portrait's left lids, whatever both proportions."""
    driving, driven = face((80, 90), 45, -0.2), face((140, 120), 70, 0.15)
    driven[36:48, 1] += 6  # eyes that lie lower
    frame = np.zeros((200, 200, 3), np.uint8)
    at = driving[42:48].mean(0)
    cv2.circle(frame, tuple(int(v) for v in at), 3, (255, 255, 255), -1)
    window = FaceWindow.around(driven)
    made = rectified_driver(window, frame, driving, driven, 96)
    row, column = np.argwhere(made[..., 0] > 128).mean(0)
    expected = (window.inside(driven[42:48].mean(0)) + 1) * 48 - 0.5
    np.testing.assert_allclose([column, row], expected, atol=1.5)


def test_open_lips_keep_the_drivers_shape() -> None:
    """Lips are not laid over each other: how thick they are in the driver's landmarks changes nothing."""
    neutral = face()
    thick = face()
    thick[48:68, 1] = (thick[48:68, 1] - thick[48:68, 1].mean()) * 2 + thick[48:68, 1].mean()
    frame = np.random.default_rng(1).integers(0, 255, (200, 200, 3), np.uint8)
    window = FaceWindow.around(neutral)
    plain = rectified_driver(window, frame, neutral, neutral, 48).astype(int)
    with_thick_lips = rectified_driver(window, frame, neutral, thick, 48).astype(int)
    assert np.abs(plain - with_thick_lips).mean() < 3


def test_warp_of_nothing_is_the_window_itself() -> None:
    image = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 3)
    window = FaceWindow.around(face())
    same = warp_into(window, image, face(), face(), 64).astype(int)
    assert np.abs(same - sample(image, window.places(64)).astype(int)).max() <= 2


@pytest.mark.parametrize("shift", [0.0, 0.7, 5.0])
def test_the_local_view_is_grey_but_for_eyes_and_mouth(shift: float) -> None:
    """As if every pixel were mixed with grey; boxes may lie over the border, or beyond it."""
    neutral = FaceWindow.around(face()).inside(face()) + np.float32(shift)
    frame = np.random.default_rng(2).integers(0, 256, (96, 96, 3), np.uint8)
    share = eyes_and_mouth(neutral, 96)
    wanted = np.asarray((frame - 127.5) * share[..., None] + 128, np.uint8)
    np.testing.assert_array_equal(local_view(frame, neutral), wanted)
    assert share.max() == (shift < 5) and (wanted[share == 0] == 128).all()


def test_a_part_that_changes_more_is_shown_more() -> None:
    neutral = FaceWindow.around(face()).inside(face())
    eyes, mouth = changed_parts(neutral, (0.5, 0, 0), 64), changed_parts(neutral, (0, 0, 1), 64)
    assert (eyes.max(), mouth.max()) == (0.5, 1) and eyes[-20:].max() == mouth[:20].max() == 0
    np.testing.assert_array_equal(changed_parts(neutral, (0.5, 0, 1), 64), np.maximum(eyes, mouth))


def test_what_is_open_lies_between_lids_and_between_lips() -> None:
    points = np.full((68, 2), 2.0)
    turns = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    points[60:68] = 0.3 * np.stack([np.cos(turns), np.sin(turns)], 1) + [0, 0.4]
    share = opened_parts([points], 100)
    assert share[70, 50] == 1 and share[10, 50] == 0 and share[70, 75] == 0
    points[60:68, 1] = 0.4  # shut: a line, no wider than its soft rim
    assert opened_parts([points], 100)[60].max() == 0 and opened_parts([points], 100)[70, 50] > 0
