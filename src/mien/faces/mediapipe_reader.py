"""Reading faces with Google's MediaPipe (the optional extra `mediapipe`): the accurate reader."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import InputError
from mien.faces.model_file import find_model, obtain_model
from mien.faces.reading import EXPRESSION_NAMES, FaceReading, box_overlap, distinct_faces, landmark_bounds
from mien.geometry import HeadPose, SquareCrop

# iBUG's 68 points among MediaPipe's 478: contour, brows, nose, eyes, outer and inner lips. fmt keeps a group a line.
# fmt: off
LANDMARKS_68 = np.array([
    127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
])
# fmt: on

_PUPILS = (468, 473)  # middles of the irises, the subject's right one first
_MANY = 8  # faces read_all looks for
_SEARCH = 512  # side of the windows in which small faces are looked for
_AROUND = 2.5  # a window around a known face, times the face


class MediaPipeReader:
    """`FaceReader` over MediaPipe's FaceLandmarker, in image mode, on the CPU.

    Faces too small for its detector are looked for in windows of the picture. MediaPipe gives no score with a face:
    confidence is 1 for a face found in the whole picture, 0.7 for one that only a window showed.
    """

    name = "mediapipe"

    def __init__(self, model: Path | None = None, least_confidence: float = 0.3) -> None:
        """model: face_landmarker.task; None: see `obtain_model`. Raises InputError if it or mediapipe is missing."""
        found = find_model(model)
        _check_package()  # before 4 MB are fetched for it
        self._model = found or obtain_model()
        self._least = least_confidence
        self._single: Any = _landmarker(self._model, 1, least_confidence)
        self._several: Any = None

    def read(self, image: np.ndarray, hint: FaceReading | None = None) -> FaceReading | None:
        """See `FaceReader.read`."""
        whole = self._detect(self._single, image, 1.0)
        if hint is None:
            if whole:
                return whole[0]
            return next(self._in_windows(image, _windows(image.shape[1], image.shape[0])), None)
        if whole and box_overlap(whole[0].box, hint.box) > 0.1:
            return whole[0]
        # Another face, or none: look where the face was a frame ago before giving in.
        near = next(self._in_windows(image, iter([_window_around(hint)])), None)
        return near or (whole[0] if whole else None)

    def read_all(self, image: np.ndarray) -> list[FaceReading]:
        """See `FaceReader.read_all`; at most eight faces a window."""
        if self._several is None:
            self._several = _landmarker(self._model, _MANY, self._least)
        found = self._detect(self._several, image, 1.0)
        for window in _windows(image.shape[1], image.shape[0]):
            found += self._in_window(image, window, self._several)
        return distinct_faces(found)

    def close(self) -> None:
        """See `FaceReader.close`."""
        for landmarker in (self._single, self._several):
            if landmarker is not None:
                landmarker.close()
        self._single = self._several = None

    def _in_windows(self, image: np.ndarray, windows: Iterator[SquareCrop]) -> Iterator[FaceReading]:
        for window in windows:
            yield from self._in_window(image, window, self._single)

    def _in_window(self, image: np.ndarray, window: SquareCrop, landmarker: Any) -> list[FaceReading]:
        side = int(min(max(window.size, 192), _SEARCH))
        readings = self._detect(landmarker, window.extract(image, side), 0.7)
        height, width = image.shape[:2]
        moved = []
        for reading in readings:
            points = window.points_out(reading.landmarks, side)
            pose = HeadPose.from_landmarks(reading.pose.rotation, points, width, height)
            pupils = None if reading.pupils is None else window.points_out(reading.pupils, side)
            moved.append(replace(reading, box=landmark_bounds(points), landmarks=points, pose=pose, pupils=pupils))
        return moved

    def _detect(self, landmarker: Any, image: np.ndarray, confidence: float) -> list[FaceReading]:
        if landmarker is None:
            raise ValueError("this face reader has been closed")
        import mediapipe

        height, width = image.shape[:2]
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        found = landmarker.detect(picture)
        readings = []
        for points, scores, matrix in zip(
            found.face_landmarks, found.face_blendshapes, found.facial_transformation_matrixes, strict=True
        ):
            landmarks = np.array([[points[i].x * width, points[i].y * height] for i in LANDMARKS_68], np.float32)
            named = {score.category_name: score.score for score in scores}
            expression = np.array([named.get(name, 0.0) for name in EXPRESSION_NAMES], np.float32)
            rotation = HeadPose.from_matrix(np.asarray(matrix)).rotation
            pose = HeadPose.from_landmarks(rotation, landmarks, width, height)
            bounds = landmark_bounds(landmarks)
            pupils = np.array([[points[i].x * width, points[i].y * height] for i in _PUPILS if i < len(points)])
            seen = pupils.astype(np.float32) if len(pupils) == len(_PUPILS) else None
            readings.append(FaceReading(bounds, landmarks, pose, np.clip(expression, 0, 1), confidence, seen))
        return readings


def mediapipe_is_installed() -> bool:
    """Whether mediapipe can be imported, with the system libraries it needs."""
    os.environ.setdefault("GLOG_minloglevel", "2")  # its start-up notes are no news to the user
    try:
        import mediapipe.tasks.python.vision  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


def _check_package() -> None:
    """Raise InputError unless mediapipe can be imported."""
    if not mediapipe_is_installed():
        raise InputError(
            "the mediapipe face reader needs the package mediapipe and the system libraries libEGL and libGLESv2:"
            " pip install 'mien[mediapipe]', or use the nano reader"
        )


def _landmarker(model: Path, faces: int, least: float) -> Any:
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)),
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
        num_faces=faces,
        min_face_detection_confidence=least,
        min_face_presence_confidence=least,
    )
    return vision.FaceLandmarker.create_from_options(options)


def _windows(width: int, height: int) -> Iterator[SquareCrop]:
    """Overlapping squares, large ones first, that show a small face larger."""
    for part in (1.0, 0.6, 0.4):
        side = min(width, height) * part
        if side < 64 or (part == 1.0 and abs(width - height) < 0.1 * side):
            continue
        for y in _starts(height, side):
            for x in _starts(width, side):
                yield SquareCrop(x, y, side)


def _starts(length: int, side: float) -> np.ndarray:
    count = int(np.ceil((length - side) / (0.5 * side) - 1e-6)) + 1
    return np.linspace(0, length - side, max(count, 1))


def _window_around(hint: FaceReading) -> SquareCrop:
    centre = (hint.box[:2] + hint.box[2:]) / 2
    side = _AROUND * float((hint.box[2:] - hint.box[:2]).max())
    return SquareCrop(float(centre[0]) - side / 2, float(centre[1]) - side / 2, side)
