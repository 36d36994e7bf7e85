"""What is measured on pixels: L1, PSNR and SSIM of whole frames, L1 of eye and mouth patches, sharpness."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.geometry import patch_boxes

LARGEST_PSNR = 100.0  # decibels, what equal pictures are given in place of infinity
_BATCH = 8
_SHARP_SIDE = 256


def to_unit(frames: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, h, w, 3] to [n, 3, h, w] in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float().div_(255)


def l1(result: Tensor, ground_truth: Tensor) -> list[float]:
    """Mean absolute difference of each frame.

    Args:
        result: [n, 3, h, w] in [0, 1].
        ground_truth: the same.
    """
    from torchmetrics.functional import mean_absolute_error

    pairs = zip(result, ground_truth, strict=True)
    return [float(mean_absolute_error(a.contiguous(), b.contiguous())) for a, b in pairs]


def psnr(result: Tensor, ground_truth: Tensor) -> list[float]:
    """Decibels of each frame, at most 100.

    Args:
        result: [n, 3, h, w] in [0, 1].
        ground_truth: the same.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    found = peak_signal_noise_ratio(result, ground_truth, data_range=1.0, dim=(1, 2, 3), reduction="none")
    return [min(float(value), LARGEST_PSNR) for value in found]


def ssim(result: Tensor, ground_truth: Tensor) -> list[float]:
    """Structural similarity of each frame.

    Args:
        result: [n, 3, h, w] in [0, 1].
        ground_truth: the same.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    found: list[float] = []
    for a, b in zip(result.split(_BATCH), ground_truth.split(_BATCH), strict=True):
        values = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
        assert isinstance(values, Tensor)
        found += values.tolist()
    return found


def patches(frame: Tensor, landmarks: NDArray[np.floating]) -> tuple[Tensor, Tensor]:
    """The squares of X-Portrait's local control (Section 3.3), a quarter of the side each, moved inside the frame.

    Args:
        frame: [3, h, h].
        landmarks: [68, 2], pixels.

    Returns:
        The eyes [2, 3, s, s] and the mouth [1, 3, s, s].
    """
    side = frame.shape[-1]
    size = 2 * (side // 8)
    cut = []
    for left, top, _, _ in patch_boxes(np.asarray(landmarks), side):
        x, y = (min(max(corner, 0), side - size) for corner in (left, top))
        cut.append(frame[:, y : y + size, x : x + size])
    return torch.stack(cut[:2]), torch.stack(cut[2:])


def sharpness(frame: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> float | None:
    """Laplacian variance of the face's box (of the landmarks), brought to 256 px; None if the box is empty."""
    low = np.maximum(landmarks.min(0).astype(int), 0)
    high = landmarks.max(0).astype(int) + 1
    face = frame[low[1] : high[1], low[0] : high[0]]
    if face.size == 0:
        return None
    face = cv2.resize(face, (_SHARP_SIDE, _SHARP_SIDE), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that are known; None if none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
