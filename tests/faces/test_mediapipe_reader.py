from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.faces import load_face_reader
from mien.faces.mediapipe_reader import MediaPipeReader, mediapipe_is_installed

ASSETS = Path(__file__).parents[1] / "assets"
MODEL = ASSETS / "mediapipe" / "face_landmarker.task"
pytestmark = pytest.mark.skipif(not mediapipe_is_installed(), reason="needs mediapipe, an extra")


@pytest.fixture(scope="module")
def reader() -> Iterator[MediaPipeReader]:
    reader = load_face_reader("mediapipe", MODEL)
    assert isinstance(reader, MediaPipeReader)
    yield reader
    reader.close()


def _portraits() -> list[dict]:
    return json.loads((ASSETS / "faces" / "index.json").read_text())["portraits"]


def _image(entry: dict) -> np.ndarray:
    return np.asarray(Image.open(ASSETS / "faces" / entry["file"]).convert("RGB"))


def test_pose_agrees_with_the_index(reader: MediaPipeReader) -> None:
    for entry in _portraits():
        reading = reader.read(_image(entry))
        assert reading is not None
        angles = (reading.pose.yaw, reading.pose.pitch, reading.pose.roll)
        assert angles == pytest.approx(entry["yaw_pitch_roll_deg"], abs=2.5)
        assert reading.expression.min() >= 0 and reading.expression.max() <= 1
        left, right = reading.landmarks[36:42].mean(0), reading.landmarks[42:48].mean(0)
        assert left[0] < right[0] and left[1] < reading.landmarks[8, 1]


def test_small_and_second_faces(reader: MediaPipeReader) -> None:
    entries = _portraits()
    wall = np.full((900, 1400, 3), 90, np.uint8)
    for entry, (x, y, side) in zip(entries[:2], ((60, 60, 300), (1000, 600, 150)), strict=True):
        wall[y : y + side, x : x + side] = np.asarray(Image.fromarray(_image(entry)).resize((side, side)))
    faces = reader.read_all(wall)
    assert len(faces) == 2 and faces[0].box[0] < 400 < 1000 < faces[1].box[0]
    assert faces[1].pose.scale < faces[0].pose.scale
    followed = reader.read(wall, hint=faces[1])
    assert followed is not None and np.abs(followed.box - faces[1].box).max() < 10


def test_no_face(reader: MediaPipeReader) -> None:
    assert reader.read(np.full((120, 160, 3), 128, np.uint8)) is None
    assert reader.read_all(np.zeros((64, 64, 3), np.uint8)) == []


def test_closed_readers_say_so() -> None:
    reader = MediaPipeReader(MODEL)
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read(np.zeros((64, 64, 3), np.uint8))
