from __future__ import annotations

import numpy as np

from mien.geometry import SquareCrop, paste_back


def _picture(height: int = 240, width: int = 320) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    waves = 20 * np.sin(columns / 17.0) + 15 * np.cos(rows / 23.0)
    return np.stack([90 + columns / 4 + waves, 120 + rows / 4 + waves, 140 - columns / 8 + waves], -1).astype(np.uint8)


def test_the_unchanged_crop_changes_nothing_visible() -> None:
    image = _picture()
    crop = SquareCrop(80, 40, 128)
    pasted = paste_back(image, crop, crop.extract(image, 128))
    assert pasted.shape == image.shape
    assert np.abs(pasted.astype(int) - image).max() <= 2


def test_a_tint_leaves_no_box() -> None:
    image = _picture()
    crop = SquareCrop(80, 40, 128)
    inside = crop.extract(image, 96).astype(float)
    ramp = np.linspace(0, 10, 96)[None, :, None]
    tinted = np.clip(inside * 0.92 + [18, -6, 4] + ramp, 0, 255).astype(np.uint8)
    tinted[20:76, 20:76] = 255 - tinted[20:76, 20:76]  # the face itself has changed a lot
    tinted[60:96, 5:25] = 0  # and something has moved across the seam
    pasted = paste_back(image, crop, tinted).astype(int)
    seam = np.abs(pasted[40:168, 80:208] - image[40:168, 80:208]).max(-1)
    assert np.median(seam[6, :100]) <= 4 and np.median(seam[:60, 6]) <= 4 and np.median(seam[6:80, -7]) <= 4
    assert seam[64, 64] > 20  # what is new inside is kept
    assert np.array_equal(np.delete(pasted, np.s_[40:168], 0), np.delete(image, np.s_[40:168], 0).astype(int))


def test_reference_gives_the_colour_when_everything_moved() -> None:
    image = _picture()
    crop = SquareCrop(60, 30, 160)
    still = np.clip(crop.extract(image, 80).astype(int) + [12, -9, 5], 0, 255).astype(np.uint8)
    moved = np.full_like(still, 100)
    pasted = paste_back(image, crop, moved, reference_uint8=still).astype(float)
    assert np.abs(pasted[110, 140] - (100 - np.array([12, -9, 5]))).max() < 2.5


def test_mask_and_sides_on_the_border() -> None:
    image = _picture()
    crop = SquareCrop(-30, 100, 170)  # over the left and the lower border
    result = crop.extract(image, 170)
    pasted = paste_back(image, crop, result, feather=0.2, mask_out=True)
    mask = pasted[..., 3]
    assert mask.dtype == np.uint8 and mask[200, 0] == 255 and mask[239, 60] == 255
    assert mask[100, 60] == 0 and mask[200, 139] == 0 and (mask[:100] == 0).all() and 0 < mask[110, 60] < 255
    assert np.abs(pasted[..., :3].astype(int) - image).max() <= 3


def test_native_resolution_and_outside_crops() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    pasted = paste_back(image, SquareCrop(100.3, 50.7, 150.4), np.full((32, 32, 3), 128, np.uint8))
    assert np.array_equal(pasted[:50], image[:50]) and np.array_equal(pasted[:, 252:], image[:, 252:])
    assert np.array_equal(paste_back(image, SquareCrop(900, 900, 50), np.zeros((8, 8, 3), np.uint8)), image)
