"""Putting an animated square back into its picture, without a visible box."""

from __future__ import annotations

import math

import cv2
import numpy as np
from PIL import Image

from mien.geometry.crops import SquareCrop

_FIT = 64  # colours are compared on copies of this side: only what is broad there is corrected
_LIMIT = 40.0  # largest correction, grey levels


def paste_back(
    image: np.ndarray,
    crop: SquareCrop,
    result: np.ndarray,
    *,
    feather: float = 0.08,
    reference_uint8: np.ndarray | None = None,
    mask_out: bool = False,
) -> np.ndarray:
    """Lay what became of a crop over the picture, at the picture's own resolution.

    The result's colours are shifted by a smooth field (a second-order polynomial, fitted robustly in the soft edge) so
    that they meet the picture's there.

    Args:
        image: uint8 [H, W, 3].
        crop: where the result belongs.
        result: uint8 [S, S, 3], any S.
        feather: width of the soft edge as a part of the square; sides of the crop that lie on or beyond the picture's
            border have none.
        reference_uint8: a still rendering of the crop [S', S', 3], in which nothing has moved; if given, the colours of
            it, not of `result`, are compared with the picture's, over the whole square.
        mask_out: return a fourth channel: how much of the pixel is new, 0 to 255.

    Returns:
        uint8 [H, W, 3], or [H, W, 4] with `mask_out`.
    """
    height, width = image.shape[:2]
    left, top = max(math.floor(crop.x), 0), max(math.floor(crop.y), 0)
    right, bottom = min(math.ceil(crop.x + crop.size), width), min(math.ceil(crop.y + crop.size), height)
    output = np.dstack([image, np.zeros((height, width), np.uint8)]) if mask_out else image.copy()
    if right <= left or bottom <= top:
        return output
    across = (np.arange(left, right) + 0.5 - crop.x) / crop.size  # place in the square, 0..1
    down = (np.arange(top, bottom) + 0.5 - crop.y) / crop.size
    mask = _mask(across, down, feather, crop, width, height)
    field = _colour_field(image, crop, result, reference_uint8, feather)
    fresh = cv2.add(_resample(result, crop, left, top, right, bottom), _spread(field, across, down), dtype=cv2.CV_8U)
    old = np.ascontiguousarray(image[top:bottom, left:right])
    output[top:bottom, left:right, :3] = cv2.blendLinear(fresh, old, mask, 1 - mask)
    if mask_out:
        output[top:bottom, left:right, 3] = np.round(mask * 255).astype(np.uint8)
    return output


def _resample(result: np.ndarray, crop: SquareCrop, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """The result at the picture's pixels, uint8 [bottom - top, right - left, 3]."""
    side = result.shape[0]
    zoom = side / crop.size
    # Pixels that the square covers only in part reach over the result's border: repeat it there.
    pad = math.ceil(zoom) + 1
    padded = Image.fromarray(np.pad(result, ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
    box = [(left - crop.x) * zoom, (top - crop.y) * zoom, (right - crop.x) * zoom, (bottom - crop.y) * zoom]
    size = (right - left, bottom - top)
    return np.asarray(padded.resize(size, Image.Resampling.BICUBIC, box=tuple(b + pad for b in box)))


def _mask(
    across: np.ndarray, down: np.ndarray, feather: float, crop: SquareCrop, width: int, height: int
) -> np.ndarray:
    """Weight of the new pixels [h, w]: 1 inside, falling smoothly to 0 at the sides that have a seam."""
    open_x = (crop.x > 0.5, crop.x + crop.size < width - 0.5)
    open_y = (crop.y > 0.5, crop.y + crop.size < height - 0.5)
    # Smoothing is monotonic: done on each axis first, the smaller of both is the same.
    return np.minimum(_ramp(across, open_x, feather)[None, :], _ramp(down, open_y, feather)[:, None])


def _ramp(place: np.ndarray, seams: tuple[bool, bool], feather: float) -> np.ndarray:
    far = np.full_like(place, np.inf)
    inset = np.minimum(place if seams[0] else far, 1 - place if seams[1] else far)
    soft = np.clip(inset / max(feather, 1e-6), 0, 1)
    return (soft * soft * (3 - 2 * soft)).astype(np.float32)


def _terms(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """The polynomial's six terms [h, w, 6] at places in the square."""
    x, y = np.meshgrid(across * 2 - 1, down * 2 - 1)
    return np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], -1).astype(np.float32)


def _spread(field: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """The polynomial with coefficients [6, 3] at every place, [h, w, 3]: smooth enough to be drawn out from a grid."""
    count_x, count_y = min(len(across), _FIT), min(len(down), _FIT)
    step_x, step_y = (across[-1] - across[0]), (down[-1] - down[0])
    # The grid's cells share the outer borders of the pixels, as cv2.resize takes them.
    cells_x = across[0] + step_x * ((np.arange(count_x) + 0.5) * len(across) / count_x - 0.5) / max(len(across) - 1, 1)
    cells_y = down[0] + step_y * ((np.arange(count_y) + 0.5) * len(down) / count_y - 0.5) / max(len(down) - 1, 1)
    grid = (_terms(cells_x, cells_y) @ field).astype(np.float32)
    return cv2.resize(grid, (len(across), len(down)), interpolation=cv2.INTER_LINEAR)


def _colour_field(
    image: np.ndarray, crop: SquareCrop, result: np.ndarray, reference: np.ndarray | None, feather: float
) -> np.ndarray:
    """Coefficients [6, 3] of the colour shift, grey levels."""
    height, width = image.shape[:2]
    wanted = crop.extract(image, _FIT).astype(np.float32)
    shown = result if reference is None else reference
    given = SquareCrop(0, 0, shown.shape[0]).extract(shown, _FIT).astype(np.float32)
    place = (np.arange(_FIT) + 0.5) / _FIT
    inside_x = (place * crop.size + crop.x > 0) & (place * crop.size + crop.x < width)
    inside_y = (place * crop.size + crop.y > 0) & (place * crop.size + crop.y < height)
    use = inside_x[None, :] & inside_y[:, None]
    if reference is None:
        use &= _mask(place, place, max(1.5 * feather, 4 / _FIT), crop, width, height) < 1
    if use.sum() < 12:
        return np.zeros((6, 3), np.float32)
    terms, difference = _terms(place, place)[use], (wanted - given)[use]
    field = _robust_fit(terms, difference)
    # Away from the seam the polynomial is a guess: never let it run further than what was seen at the seam.
    grid = _terms(place, place).reshape(-1, 6) @ field
    seen = np.abs(terms @ field).max(0)
    shrink = np.minimum(1.0, np.minimum(_LIMIT, 1.5 * seen + 1e-3) / np.maximum(np.abs(grid).max(0), 1e-3))
    return (field * shrink).astype(np.float32)


def _robust_fit(terms: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Reweighted least squares (Tukey's biweight): what moved across the seam is an outlier, a tint is not."""
    fields = []
    ridge = np.diag([0.0, 1.0, 1.0, 3.0, 3.0, 3.0]) * 0.01 * len(terms)
    for channel in range(3):
        target = difference[:, channel].astype(np.float64)
        field = np.zeros(6)
        field[0] = np.median(target)
        for _ in range(8):
            rest = target - terms @ field
            spread = max(1.4826 * float(np.median(np.abs(rest))), 1.0)
            weight = np.clip(1 - (rest / (4.0 * spread)) ** 2, 0, 1) ** 2
            weighted = terms * weight[:, None]
            field = np.linalg.solve(weighted.T @ terms + ridge, weighted.T @ target)
        fields.append(field)
    return np.stack(fields, 1)
