"""Bringing driving frames to the place and size of the portrait's face, as X-Portrait's published script does it."""

from __future__ import annotations

import numpy as np
from PIL import Image


def landmark_box(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box of a face's landmarks, as the alignment measures it.

    Args:
        landmarks: [n, 2], in any unit.

    Returns:
        Centre [2] (mean of the points) and half extent [2] (half of max - min, per axis).
    """
    points = np.asarray(landmarks, np.float64)
    return points.mean(0), (points.max(0) - points.min(0)) / 2


def driver_alignment(source_landmarks: np.ndarray, driver_landmarks: np.ndarray) -> np.ndarray:
    """The affine map that lays the driving face's box over the source's.

    Separate x and y scale, no rotation: the box's centre is the mean of the points, its half extent half of (max -
    min).

    Args:
        source_landmarks: [68, 2], normalised to the square picture: 0 left or top border, 1 right or bottom.
        driver_landmarks: the same of the driving face.

    Returns:
        M [2, 3], normalised as well: source = M @ (x, y, 1).
    """
    source_centre, source_half = landmark_box(source_landmarks)
    driver_centre, driver_half = landmark_box(driver_landmarks)
    zoom = source_half / np.maximum(driver_half, 1e-6)
    shift = source_centre - zoom * driver_centre
    return np.array([[zoom[0], 0.0, shift[0]], [0.0, zoom[1], shift[1]]])


def align_frame(frame: np.ndarray, matrix: np.ndarray, size: int, border: str = "border") -> np.ndarray:
    """Warp a square frame by `driver_alignment`'s map.

    Args:
        frame: uint8 [S, S, 3].
        matrix: [2, 3], normalised.
        size: side of the result, pixels.
        border: "border" repeats the frame's edge, "zeros" leaves black.

    Returns:
        uint8 [size, size, 3].

    Raises:
        ValueError: if the frame is not square.
    """
    import torch  # where it is used: the command line's help reads this package and does not wait for torch
    from torch.nn import functional as nn_functional

    if frame.shape[0] != frame.shape[1]:
        raise ValueError(f"align_frame needs a square frame, got {frame.shape[1]} x {frame.shape[0]}")
    full = np.vstack([np.asarray(matrix, np.float64), [0.0, 0.0, 1.0]])
    zoom = float(np.sqrt(abs(np.linalg.det(full[:2, :2]))))
    # Smooth first where the map shrinks: bilinear sampling alone would leave stair-steps and shimmer.
    working = max(1, min(frame.shape[0], round(size * min(1.0, zoom))))
    if working < frame.shape[0]:
        picture = Image.fromarray(np.ascontiguousarray(frame))
        frame = np.asarray(picture.resize((working, working), Image.Resampling.BOX, reducing_gap=None))
    # grid_sample wants, for each output place in [-1, 1], the input place in [-1, 1].
    to_unit = np.array([[0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 1.0]])
    inverse = np.linalg.inv(to_unit) @ np.linalg.inv(full) @ to_unit
    theta = torch.from_numpy(inverse[None, :2].astype(np.float32))  # [1, 2, 3]
    pixels = torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float()  # [1, 3, s, s]
    grid = nn_functional.affine_grid(theta, [1, 3, size, size], align_corners=False)
    warped = nn_functional.grid_sample(pixels, grid, mode="bilinear", padding_mode=border, align_corners=False)
    return warped[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
