from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.evaluation.identity import ArcFace, Retail, YuNet, aligned_arcface, cosine, similarity
from mien.media import read_image
from reference_fill import expected, pictures


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


def test_arcface_gives_the_embedding_of_insightfaces_network(assets: Path) -> None:
    """By a file of its ResNet's layers, exported as InsightFace exports them, with far fewer channels."""
    folder = assets / "face_id"
    network = ArcFace(YuNet(folder / "face_detection_yunet_2023mar.onnx"), folder / "arcface_narrow.onnx")
    crop = (pictures("face", (3, 112, 112)) * 255).round().byte().permute(1, 2, 0).numpy()
    found, wanted = network.embed_aligned(crop), np.array(expected("arcface"))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    assert np.abs(network.embed_aligned(crop[..., ::-1]) - wanted).max() > 0.1, "red and blue are told apart"
    assert network.embed(np.full((96, 96, 3), 127, np.uint8)) is None


def test_arcface_sees_the_face_in_its_place(assets: Path) -> None:
    yunet = YuNet(assets / "face_id" / "face_detection_yunet_2023mar.onnx")
    portrait = read_image(assets / "faces" / "astronaut.jpg")
    face = yunet.find(portrait)
    assert face is not None
    crop = aligned_arcface(portrait, face[4:14].reshape(5, 2))
    again = yunet.find(crop)
    assert crop.shape == (112, 112, 3) and again is not None
    points = again[4:14].reshape(5, 2)  # the template of InsightFace's face_align.py
    template = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    assert np.abs(points - template).mean() < 3
