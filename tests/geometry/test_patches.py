from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.geometry import local_patches, patch_boxes


def test_the_rule_of_the_official_code(face: np.ndarray) -> None:
    points = face * 50 + [128, 128]  # on a 256 px picture
    expected = [np.round(points[i:j].mean(0)) for i, j in ((43, 48), (37, 42), (49, 68))]
    for (left, top, right, bottom), centre in zip(patch_boxes(points * 2, 512), expected, strict=True):
        assert right - left == 128 and bottom - top == 128
        assert (left + 64, top + 64) == tuple(int(c * 2) for c in centre)


def test_centres_stay_in_the_picture(face: np.ndarray) -> None:
    for left, top, right, bottom in patch_boxes(face * 10 + [500, -90], 256):
        assert (left + right) // 2 == 223 and (top + bottom) // 2 == 32


def test_uint8_and_tensor_agree(face: np.ndarray) -> None:
    image = np.random.default_rng(0).integers(1, 256, (64, 64, 3), np.uint8)
    points = face * 14 + [32, 34]
    kept = local_patches(image, points)
    tensor = torch.from_numpy(image).permute(2, 0, 1) / 127.5 - 1
    batch = local_patches(torch.stack([tensor, tensor]), [points, None])
    assert ((kept == 0) | (kept == image)).all() and 0 < (kept > 0).mean() < 0.5
    assert torch.allclose(batch[0], torch.from_numpy(kept).permute(2, 0, 1) / 127.5 - 1)
    assert (batch[1] == -1).all()
    assert torch.equal(local_patches(torch.stack([tensor, tensor]), points)[1], batch[0])


def test_no_face_is_blank() -> None:
    image = np.full((32, 32, 3), 9, np.uint8)
    assert (local_patches(image, None) == 0).all() and (image == 9).all()
    assert (local_patches(torch.zeros(1, 2, 3, 16, 16), None) == -1).all()


def test_wrong_shapes_are_refused(face: np.ndarray) -> None:
    with pytest.raises(ValueError, match="square"):
        local_patches(np.zeros((4, 5, 3), np.uint8), face)
    with pytest.raises(ValueError, match="landmarks"):
        local_patches(torch.zeros(3, 3, 8, 8), [face, face])
