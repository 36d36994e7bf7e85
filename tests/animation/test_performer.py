"""Who performs expressions where there is no driving video: drawn as told, always the same, and only what changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mien.animation.driven_face import DrivenFace, Performance
from mien.animation.face_edit import FaceChange
from mien.animation.performer import Performer, performer
from mien.animation.window_engine import window_driver
from mien.faces import EXPRESSION_NAMES, FaceReader, load_face_reader
from mien.geometry import HeadPose
from mien.geometry.face_window import changed_parts

AHEAD = HeadPose(np.zeros(3), np.zeros(2), 1.0)
CALM = np.zeros(len(EXPRESSION_NAMES))


def scores(**sliders: float) -> np.ndarray:
    return FaceChange(**sliders).expressed(CALM)


@pytest.fixture(scope="module")
def reader() -> FaceReader:
    return load_face_reader()


@pytest.mark.parametrize(
    ("slider", "shape"), [("blink", "eyeBlinkLeft"), ("jaw", "jawOpen"), ("smile", "mouthSmileLeft")]
)
def test_a_reader_reads_what_is_performed(reader: FaceReader, slider: str, shape: str) -> None:
    place, read = EXPRESSION_NAMES.index(shape), []
    for amount in (0.0, 1.0):
        picture, neutral = performer().frame(AHEAD, scores(**{slider: amount}))
        reading = reader.read(picture)
        assert reading is not None and neutral.shape == (70, 2)
        read.append(reading.expression[place])
    assert read[1] > read[0] + 0.35


def test_the_head_turns_as_told_and_its_neutral_keypoints_with_it(reader: FaceReader) -> None:
    for yaw in (-15.0, 15.0):
        pose = HeadPose.from_euler(yaw, 0, 0)
        calm, neutral = performer().frame(pose, CALM)
        opened, same = performer().frame(pose, scores(jaw=1.0, blink=1.0))
        reading = reader.read(calm)
        assert reading is not None and reading.pose.yaw == pytest.approx(yaw, abs=5)
        # the keypoints know nothing of the expression, and lie where the calm face is
        np.testing.assert_array_equal(neutral, same)
        assert np.abs(reading.landmarks - neutral[:68])[17:].mean() < 4
        assert np.abs(opened.astype(int) - calm).max() > 60


def test_a_picture_is_made_once_and_the_same_by_everybody() -> None:
    one, other = Performer(64), Performer(64)
    first, again = one.frame(AHEAD, scores(jaw=1.0)), one.frame(AHEAD, scores(jaw=1.0))
    assert first is again
    np.testing.assert_array_equal(first[0], other.frame(AHEAD, scores(jaw=1.0))[0])


def test_only_what_changes_is_performed() -> None:
    own = scores(smile=0.5)
    assert Performance.of(AHEAD, own, own) is None
    for slider, parts in (("blink", (1, 0, 0)), ("brows", (0, 1, 0)), ("jaw", (0, 0, 1))):
        shown = Performance.of(AHEAD, own, FaceChange(**{slider: 1.0}).expressed(own))
        assert shown is not None and shown.parts == parts
    little = Performance.of(AHEAD, own, FaceChange(jaw=0.05).expressed(own))
    assert little is not None and 0 < little.parts[2] < 0.5, "lists come into it evenly"


class GreyLayer:
    """A portrait of one grey, which moves nowhere."""

    def moved_window(self, keypoints: np.ndarray, window: object, side: int) -> np.ndarray:
        return np.full((side, side, 3), 90, np.uint8)


def test_the_model_is_shown_the_performer_where_the_face_changes_and_the_portrait_elsewhere() -> None:
    _, face = performer().frame(AHEAD, CALM)
    places = face * 2
    for change, kept in ((None, None), ({"blink": 1.0}, slice(48, 68)), ({"jaw": 1.0}, slice(36, 48))):
        shown = None if change is None else Performance.of(AHEAD, CALM, scores(**change))
        driven = DrivenFace(places, places, performance=shown)
        seen = window_driver(driven, GreyLayer(), None, (96, 192)).whole.astype(int)  # type: ignore[arg-type]
        if change is None or kept is None:
            assert (seen == 90).all()
            continue
        assert shown is not None
        share = cv2.resize(
            changed_parts(driven.window.inside(places), shown.parts, 192), (96, 96), interpolation=cv2.INTER_AREA
        )
        assert np.abs(seen[share > 0.9] - 90).mean() > 20 and np.abs(seen[share == 0] - 90).max() <= 1
        column, row = ((driven.window.inside(places)[kept] + 1) * 48).astype(int).T
        assert np.abs(seen[row, column] - 90).max() <= 1
