"""Nano's grammar in small, for tests of whole jobs: a tiny model for face windows that moves by read landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from mien.faces import FaceReading
from mien.models.keypoint_basis import KeypointBasis
from mien.motion.keypoint_motion import FaceBasis
from mien.pipelines.x_portrait import XPortraitPipeline
from samples import BACKGROUND, DrawnFaceReader
from tiny import tiny_window_pipeline


def drawn_basis() -> FaceBasis:
    """A basis in which every score moves every keypoint a little."""
    rng = np.random.default_rng(0)
    return FaceBasis(rng.normal(0, 0.3, (70, 3)), rng.normal(0, 0.1, (52, 70, 3)))


def window_pipeline() -> XPortraitPipeline:
    """Windows of 32 px, random weights."""
    pipe = tiny_window_pipeline()
    pipe.register_modules(keypoint_basis=KeypointBasis.of(drawn_basis()))
    return pipe


class PairReader(DrawnFaceReader):
    """`DrawnFaceReader` that finds a face in each half of a picture twice as wide as high."""

    name = "pair"

    def read_all(self, image: np.ndarray) -> list[FaceReading]:
        width = image.shape[1]
        if width < 2 * image.shape[0]:
            return super().read_all(image)
        found = []
        for left in (0, width // 2):
            face = self.read(np.ascontiguousarray(image[:, left : left + width // 2]))
            if face is not None:
                box, points = face.box + [left, 0, left, 0], face.landmarks + np.float32([left, 0])
                found.append(FaceReading(box, points, face.pose, face.expression, 1.0))
        return sorted(found, key=lambda face: -float(np.ptp(face.landmarks[:, 0])))


class DrawnPersonMask:
    """`PersonMask` for `samples.draw_face`: whatever is not its background."""

    def __init__(self, *_: object) -> None:
        pass

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return (np.abs(image.astype(int) - BACKGROUND).max(2) > 40).astype(np.float32)


@pytest.fixture
def drawn_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """People are told from the background with `DrawnPersonMask`."""
    monkeypatch.setattr("mien.animation.cutting.PersonMask", DrawnPersonMask)
