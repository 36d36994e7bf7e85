from __future__ import annotations

import math

import numpy as np
import pytest

from mien.faces import EXPRESSION_NAMES
from mien.geometry import HeadPose
from mien.training.face_reader.augmentation import (
    MIRROR,
    MIRROR_EXPRESSION,
    Face,
    faceless_crop,
    finding_view,
    reading_crop,
    roughen,
    texture,
)


def _points() -> np.ndarray:
    """68 points with eyes level, 100 px wide, marked by their order."""
    points = np.random.default_rng(3).uniform(-40, 40, (68, 2))
    points[0], points[16], points[8] = (-50, -10), (50, -10), (0, 48)
    points[36:42], points[42:48] = (-20, -15), (20, -15)
    return (points + [120, 130]).astype(np.float32)


@pytest.fixture
def labelled() -> Face:
    picture = np.full((256, 256, 3), 60, np.uint8)
    points = _points()
    x, y = points[30].astype(int)
    picture[y - 3 : y + 4, x - 3 : x + 4] = (255, 255, 255)
    pose = HeadPose.from_euler(18, -7, 4)
    return Face(picture, points, pose.rotation, np.linspace(0, 1, 52, dtype=np.float32))


def test_mirror_maps_are_their_own_inverse() -> None:
    assert np.array_equal(MIRROR[MIRROR], np.arange(68))
    assert np.array_equal(MIRROR_EXPRESSION[MIRROR_EXPRESSION], np.arange(52))
    assert EXPRESSION_NAMES[MIRROR_EXPRESSION[EXPRESSION_NAMES.index("jawLeft")]] == "jawRight"
    assert EXPRESSION_NAMES[MIRROR_EXPRESSION[EXPRESSION_NAMES.index("eyeBlinkLeft")]] == "eyeBlinkRight"
    assert MIRROR[36] == 45 and MIRROR[48] == 54 and MIRROR[30] == 30


def test_the_mirror_turns_yaw_and_roll(labelled: Face) -> None:
    other = labelled.mirrored()
    pose = HeadPose(other.rotation, np.zeros(2), 1.0)
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((-18, -7, -4))
    assert np.allclose(other.mirrored().landmarks, labelled.landmarks)
    assert np.array_equal(other.mirrored().picture, labelled.picture)


def test_crops_carry_their_labels(labelled: Face) -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(20):
        sample = reading_crop(labelled, rng)
        assert sample.crop.shape == (128, 128, 3) and sample.face
        nose = (sample.landmarks[30] + 1) * 64
        x, y = np.clip(nose.astype(int), 4, 123)
        patch = sample.crop[y - 4 : y + 5, x - 4 : x + 5].astype(int).max()
        hits += patch > np.median(sample.crop) + 20
        # Yaw and pitch hardly depend on the roll of the crop, roll is what is left of it.
        assert abs(abs(math.degrees(sample.angles[0])) - 18) < 8
    assert hits >= 16  # light, covers and blur may hide the dot now and then


def test_views_carry_their_faces(labelled: Face) -> None:
    rng = np.random.default_rng(1)
    for count in (0, 1, 2):
        view = finding_view([labelled] * count, texture(rng), rng)
        assert view.view.shape == (128, 128, 3) and view.view.dtype == np.uint8
        assert len(view.faces) <= count and (count == 0 or len(view.faces) >= 1)
        for x, y, size, roll in view.faces:
            assert 0 <= x <= 128 and 0 <= y <= 128 and 12 <= size <= 141 and abs(roll) <= 0.91


def test_roughening_and_nothing(labelled: Face) -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        crop = roughen(texture(rng), rng)
        assert crop.shape == (128, 128, 3) and crop.dtype == np.uint8
        assert not faceless_crop(texture(rng), labelled, rng).face
