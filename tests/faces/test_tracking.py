from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mien.faces import FaceReading, FaceTracker, fill_start
from mien.faces.reading import landmark_bounds
from mien.geometry import HeadPose


def _reading(x: float) -> FaceReading:
    points = np.random.default_rng(0).uniform(0, 10, (68, 2)).astype(np.float32) + np.float32(x)
    return FaceReading(landmark_bounds(points), points, HeadPose.from_euler(x, 0, 0), np.zeros(52, np.float32), 0.9)


class Scripted:
    """Finds a face in the frames whose pixel says so, and keeps the hints it was given."""

    name = "scripted"

    def __init__(self) -> None:
        self.hints: list[FaceReading | None] = []

    def read(self, image: np.ndarray, hint: FaceReading | None = None) -> FaceReading | None:
        self.hints.append(hint)
        return _reading(float(image[0, 0, 0])) if image[0, 0, 0] else None

    def read_all(self, image: np.ndarray) -> list[FaceReading]:
        return []

    def close(self) -> None: ...


def _frames(values: Sequence[int]) -> list[np.ndarray]:
    return [np.full((2, 2, 3), value, np.uint8) for value in values]


def test_all_found() -> None:
    reader = Scripted()
    tracker = FaceTracker(reader)
    track = list(tracker.track(_frames([5, 6, 7])))
    assert [face.index for face in track] == [0, 1, 2] and all(face.state == "found" for face in track)
    assert tracker.report.summary() == "a face was found in all 3 frames"
    assert reader.hints[0] is None and reader.hints[2] is not None and reader.hints[2].pose.yaw == pytest.approx(6)


def test_a_short_gap_is_interpolated() -> None:
    tracker = FaceTracker(Scripted(), look_ahead=3)
    track = list(tracker.track(_frames([10, 0, 0, 0, 50])))
    assert [face.state for face in track] == ["found"] + ["interpolated"] * 3 + ["found"]
    assert [round(face.reading.pose.yaw) for face in track if face.reading] == [10, 20, 30, 40, 50]
    assert track[2].reading is not None and track[2].reading.confidence == 0
    assert tracker.report.interpolated == 3 and tracker.report.longest_gap == 3


def test_long_gaps_and_ends_are_held() -> None:
    tracker = FaceTracker(Scripted(), look_ahead=2)
    track = list(tracker.track(_frames([0, 10, 0, 0, 0, 0, 40, 0])))
    states = [face.state for face in track]
    assert states == ["held", "found", "held", "held", "held", "held", "found", "held"]
    yaws = [round(face.reading.pose.yaw) for face in track if face.reading]
    assert yaws == [10, 10, 10, 10, 10, 10, 40, 40]
    assert [face.index for face in track] == list(range(8))
    report = tracker.report
    assert (report.frames, report.found, report.held, report.longest_gap) == (8, 2, 6, 4)
    assert "2 of 8" in report.summary() and "6 held" in report.summary()


def test_nothing_waits_longer_than_the_look_ahead() -> None:
    tracker = FaceTracker(Scripted(), look_ahead=4)
    given = 0
    for pushed, image in enumerate(_frames([0] * 9 + [3] + [0] * 20 + [9]), 1):
        given += len(tracker.push(image))
        assert pushed - given <= 4
    tracker.finish()


def test_a_late_start_is_missing_until_filled() -> None:
    tracker = FaceTracker(Scripted(), look_ahead=2)
    track = list(tracker.track(_frames([0, 0, 0, 0, 20])))
    assert [face.state for face in track] == ["missing", "missing", "held", "held", "found"]
    filled = fill_start(track)
    assert all(face.reading is not None and round(face.reading.pose.yaw) == 20 for face in filled)
    assert track[0].reading is None


def test_no_face_at_all_is_not_fatal() -> None:
    tracker = FaceTracker(Scripted(), look_ahead=2)
    track = list(tracker.track(_frames([0] * 7)))
    assert [face.state for face in track] == ["missing"] * 7 and tracker.report.missing == 7
    assert fill_start(track) == track


def test_the_first_hint_chooses_the_person() -> None:
    reader = Scripted()
    start = _reading(77)
    list(FaceTracker(reader, start=start).track(_frames([5])))
    assert reader.hints == [start]
