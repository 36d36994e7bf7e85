"""The local control image: a picture that is blank but for both eyes and the mouth (X-Portrait, Section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:  # the command line's help reads this package and does not wait for torch
    import torch

Pixels = TypeVar("Pixels", np.ndarray, "torch.Tensor")

# Image-right eye, image-left eye, mouth. The first point of each group is left out, as in the official code: weights
# trained there expect it.
_GROUPS = (slice(43, 48), slice(37, 42), slice(49, 68))
_COPY = 256  # centres are found on a copy of this side
_MARGIN = 32


def patch_boxes(landmarks: np.ndarray, side: int) -> list[tuple[int, int, int, int]]:
    """The three squares around eyes and mouth in a square picture (X-Portrait, Section 3.3).

    Centres are taken on a 256 px copy, rounded, kept 32 px from its border, scaled to `side` and truncated; half the
    square is side // 8.

    Args:
        landmarks: [68, 2], pixels.
        side: of the picture, pixels.

    Returns:
        (left, top, right, bottom) of each, half open, pixels.
    """
    copy = np.asarray(landmarks, np.float64) * (_COPY / side)
    boxes = []
    for group in _GROUPS:
        centre = np.clip(np.round(copy[group].mean(0)), _MARGIN, _COPY - 1 - _MARGIN)
        x, y = (int(c * side / _COPY) for c in centre)
        half = side // 8
        boxes.append((x - half, y - half, x + half, y + half))
    return boxes


def local_patches(image: Pixels, landmarks: np.ndarray | Sequence[np.ndarray | None] | None) -> Pixels:
    """Keep only the eye and mouth squares of a square picture (X-Portrait, Section 3.3).

    Args:
        image: uint8 [S, S, 3] (blank is 0), or a float tensor [..., 3, S, S] in [-1, 1] (blank is -1).
        landmarks: [68, 2] in pixels of the picture, for all pictures of a batch; or one entry per picture, [n, 68, 2]
            or a list with None; None means that no face is known and leaves the picture blank.

    Returns:
        A new picture like `image`.
    """
    if not isinstance(image, np.ndarray):
        return _tensor_patches(image, landmarks)
    if image.ndim != 3 or image.shape[0] != image.shape[1]:
        raise ValueError(f"local_patches needs a square picture [S, S, 3], got {image.shape}")
    kept = np.zeros_like(image)
    if landmarks is not None:
        for left, top, right, bottom in patch_boxes(np.asarray(landmarks), image.shape[0]):
            kept[top:bottom, left:right] = image[top:bottom, left:right]
    return kept


def _tensor_patches(image: torch.Tensor, landmarks: np.ndarray | Sequence[np.ndarray | None] | None) -> torch.Tensor:
    side = image.shape[-1]
    if image.ndim < 3 or image.shape[-2] != side:
        raise ValueError(f"local_patches needs square pictures [..., 3, S, S], got {tuple(image.shape)}")
    kept = image.new_full(image.shape, -1.0)
    if landmarks is None:
        return kept
    pictures = image.reshape(-1, image.shape[-3], side, side)  # [n, 3, S, S]
    blank = kept.view(pictures.shape)
    one_for_all = isinstance(landmarks, np.ndarray) and landmarks.ndim == 2
    tracks = [landmarks] * len(pictures) if one_for_all else list(landmarks)
    if len(tracks) != len(pictures):
        raise ValueError(f"{len(tracks)} sets of landmarks for {len(pictures)} pictures")
    for target, picture, points in zip(blank, pictures, tracks, strict=True):
        if points is None:
            continue
        for left, top, right, bottom in patch_boxes(np.asarray(points), side):
            target[:, top:bottom, left:right] = picture[:, top:bottom, left:right]
    return kept
