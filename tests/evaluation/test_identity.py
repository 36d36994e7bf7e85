from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.evaluation.identity import Retail, YuNet, cosine, similarity
from mien.media import read_image


def test_similarity_is_found_exactly() -> None:
    points = np.random.default_rng(0).uniform(0, 100, (5, 2))
    turn = np.array([[0.8, -0.6], [0.6, 0.8]]) * 1.7
    warp = similarity(points, points @ turn.T + [5, -3])
    np.testing.assert_allclose(warp, np.c_[turn, [5, -3]], atol=1e-9)
    theirs, _ = cv2.estimateAffinePartial2D(points, points @ turn.T + [5, -3])
    np.testing.assert_allclose(warp, theirs, atol=1e-4)
    mirrored = similarity(points, points * [-1, 1])
    assert np.linalg.det(mirrored[:, :2]) > 0, "a face is never mirrored"


def test_cosine_at_its_ends() -> None:
    a = np.array([1.0, 2.0, 3.0])
    assert cosine(a, 2 * a) == pytest.approx(1) and cosine(a, -a) == pytest.approx(-1)
    assert cosine(a, np.array([3.0, 0.0, -1.0])) == pytest.approx(0)
    assert cosine(None, a) is None


@pytest.fixture(scope="module")
def embedder(assets: Path) -> Retail:
    folder = assets / "face_id"
    yunet = YuNet(folder / "face_detection_yunet_2023mar.onnx")
    return Retail(yunet, folder / "face-reidentification-retail-0095.onnx")


def test_one_person_and_two(embedder: Retail, assets: Path) -> None:
    portrait = read_image(assets / "faces" / "astronaut.jpg")
    other = read_image(assets / "faces" / "painting_seated.jpg")
    mine, flipped = embedder.embed(portrait), embedder.embed(np.ascontiguousarray(portrait[:, ::-1]))
    assert cosine(mine, mine) == pytest.approx(1)
    assert (cosine(mine, flipped) or 0) > 0.6
    assert (cosine(mine, embedder.embed(other)) or 1) < 0.2
    assert embedder.embed(np.full((96, 96, 3), 127, np.uint8)) is None
