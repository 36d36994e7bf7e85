from __future__ import annotations

import numpy as np

from faces_drawn import unit_face
from mien.geometry import SquareCrop, paste_back, portrait_crop
from mien.geometry.blend_weights import face_blend_weights, paste_blended

WIDTH, HEIGHT = 160, 90
FACES = [unit_face() * 15 + [50, 45], unit_face() * 10 + [110, 50]]
CROPS = [portrait_crop(face, WIDTH, HEIGHT) for face in FACES]
IMAGE = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def test_every_pixel_is_shared_out_and_every_face_is_its_own() -> None:
    weights = face_blend_weights(FACES, WIDTH, HEIGHT)
    np.testing.assert_allclose(np.add.reduce(weights), 1, atol=1e-5)
    for face, weight in zip(FACES, weights, strict=True):
        inside = np.round(face - 0.5).astype(int)
        assert weight[inside[:, 1], inside[:, 0]].min() > 0.95
    assert max(np.abs(np.diff(weight, axis=1)).max() for weight in weights) < 0.5  # no hard edge, on faces of 20 pixels


def test_one_face_is_pasted_as_ever() -> None:
    result = np.full((32, 32, 3), 200, np.uint8)
    alone = paste_blended(IMAGE, CROPS[:1], [result], face_blend_weights(FACES[:1], WIDTH, HEIGHT))
    np.testing.assert_array_equal(alone, paste_back(IMAGE, CROPS[0], result))


def test_a_neighbours_square_does_not_paint_over_a_face() -> None:
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    ramp = np.linspace(0, 1, 64)[None, :, None]
    results = [
        np.round(128 + sign * 30 * np.sin(np.pi * ramp) * np.ones((64, 1, 3))).astype(np.uint8) for sign in (1, -1)
    ]
    assert CROPS[0].x + CROPS[0].size > CROPS[1].x  # the squares overlap
    both = paste_blended(image, CROPS, results, face_blend_weights(FACES, WIDTH, HEIGHT)).astype(int)
    for face, crop, result in zip(FACES, CROPS, results, strict=True):
        x, y = np.round(face.mean(0)).astype(int)
        here = np.s_[y - 3 : y + 3, x - 3 : x + 3]
        assert np.abs(both[here] - paste_back(image, crop, result)[here]).max() <= 2
    assert np.abs(np.diff(both, axis=1)).max() <= 8  # no seam


def test_what_no_square_covers_stays() -> None:
    weights = face_blend_weights(FACES, WIDTH, HEIGHT)
    small = [SquareCrop(40, 40, 10), SquareCrop(100, 40, 10)]
    both = paste_blended(IMAGE, small, [np.zeros((8, 8, 3), np.uint8)] * 2, weights)
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[40:50, 40:50] = outside[40:50, 100:110] = False
    np.testing.assert_array_equal(both[outside], IMAGE[outside])
    assert (both[45, 45] != IMAGE[45, 45]).any()
