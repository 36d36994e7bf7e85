"""Alignment and preparation exactly as the official X-Portrait script does them, faults included.

Only the golden arrays need this: it stretches pictures to squares and drops the last frame
where the official code does. It takes scikit-image's `resize` and OpenCV's `warpAffine`, as their rounding is part of
the result; scikit-image comes with the extra `dev`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mien.errors import InputError
from mien.geometry.patches import local_patches

DETECTOR_SIDE = 256  # landmarks belong to copies of this side
SIDE = 512
SEARCH, RESIZE_ONLY = -1, -2  # best_frame: search for it; do not align at all


@dataclass(frozen=True)
class OfficialInputs:
    """What the official script feeds its networks: float tensors in [-1, 1], side 512.

    source [3, 512, 512], conditions [f, 3, 512, 512], local [f, 3, 512, 512]; best_frame as found or given.
    """

    source: torch.Tensor
    conditions: torch.Tensor
    local: torch.Tensor
    best_frame: int


def official_resize(image: np.ndarray, side: int) -> np.ndarray:
    """Stretch uint8 [H, W, 3] to float64 [side, side, 3] in [0, 1] (order 1, Gaussian anti-aliasing when shrinking)."""
    try:
        from skimage.transform import resize
    except ImportError as error:
        raise InputError(_missing("scikit-image")) from error
    return np.asarray(resize(image, (side, side)))


def official_detector_input(image: np.ndarray) -> np.ndarray:
    """The copy uint8 [256, 256, 3] on which landmarks are found."""
    return np.round(official_resize(image, DETECTOR_SIDE) * 255).astype(np.uint8)


def official_best_frame(source_landmarks: np.ndarray, driver_landmarks: Sequence[np.ndarray]) -> int:
    """The frame with the smallest sum of absolute differences of its landmarks [68, 2] to the source's (256 px)."""
    distances = [float(np.abs(np.asarray(points) - source_landmarks).sum()) for points in driver_landmarks]
    return int(np.argmin(distances))


def official_frames(start: int, count: int, skip: int = 1) -> slice:
    """Which frames a run takes; count 0 means all, and -1, as in the official code, all but the last."""
    return slice(start, start + count * skip if count else None, skip)


def official_align(
    frames: Sequence[np.ndarray], source_landmarks: np.ndarray, driver_landmarks: np.ndarray, side: int = SIDE
) -> np.ndarray:
    """Move resized frames [side, side, 3] by the boxes of landmarks [68, 2] at 256 px; zeros beyond the border."""
    try:
        import cv2
    except ImportError as error:
        raise InputError(_missing("opencv-python-headless")) from error
    points = side // DETECTOR_SIDE
    matrix = cv2.getAffineTransform(_corners(driver_landmarks * points), _corners(source_landmarks * points))
    return np.stack([cv2.warpAffine(frame, matrix, (side, side)) for frame in frames])


def official_inputs(
    source: np.ndarray,
    driving: Sequence[np.ndarray],
    source_landmarks: np.ndarray | None,
    driver_landmarks: Sequence[np.ndarray | None],
    local_landmarks: Sequence[np.ndarray | None],
    best_frame: int = SEARCH,
) -> OfficialInputs:
    """The whole preparation of one run.

    source: uint8 [H, W, 3]; driving: f frames of the same kind. Landmarks [68, 2] on the 256 px copies: of the source,
    of every driving frame (only best_frame's is needed if that is given), and of every aligned frame; None where no
    face is found, which means no alignment, or a blank local image.
    """
    frames = [official_resize(frame, SIDE) for frame in driving]
    if best_frame == SEARCH and source_landmarks is not None:
        far = np.full((68, 2), 1e6)
        best_frame = official_best_frame(source_landmarks, [far if p is None else p for p in driver_landmarks])
    points = driver_landmarks[best_frame] if best_frame >= 0 else None
    aligned = np.stack(frames)
    if points is not None and source_landmarks is not None:
        aligned = official_align(frames, source_landmarks, points)
    conditions = _tensor(aligned)
    doubled = [None if p is None else np.asarray(p) * (SIDE // DETECTOR_SIDE) for p in local_landmarks]
    local = local_patches(conditions, doubled)
    return OfficialInputs(_tensor(official_resize(source, SIDE)[None])[0], conditions, local, best_frame)


def official_arrays(kit_inputs: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The `align.*` and `prep.*` arrays of a golden kit, from its inputs.npz and manifest.json (see its README)."""
    source, driving = kit_inputs["align.source_u8"], kit_inputs["align.driving_u8"]
    source_points, driver_points = kit_inputs["align.src_lmks"], kit_inputs["align.drv_lmks"]
    best = int(manifest["run"]["best"])
    if best == SEARCH:
        best = official_best_frame(source_points, list(driver_points))
    copies = [official_resize(frame, DETECTOR_SIDE) for frame in driving]
    large = [official_resize(frame, SIDE) for frame in driving]
    small_aligned, aligned = np.stack(copies), np.stack(large)
    if best != RESIZE_ONLY:
        small_aligned = official_align(copies, source_points, driver_points[best], DETECTOR_SIDE)
        aligned = official_align(large, source_points, driver_points[best])
    arrays = {
        "align.fa_source_input_u8_s4": official_detector_input(source)[::4, ::4],
        "align.fa_driving_input_u8_s4": official_detector_input(driving[max(best, 0)])[::4, ::4],
        "align.ld_s4": small_aligned[:, ::4, ::4],
        "align.hd_s8": aligned[:, ::8, ::8],
        "align.hd_frame1_crop": aligned[1, 232:280, 200:248],
        "align.ld_stats": _stats(small_aligned),
        "align.hd_stats": _stats(aligned),
        "align.resize_only_hd_frame0_s8": large[0][::8, ::8],
    }
    return arrays | _preparation_arrays(kit_inputs)


def _preparation_arrays(kit_inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The kit's second half: automatic best frame over all frames, then num_frames = -1."""
    kept = official_frames(0, -1)
    source_points, driver_points = kit_inputs["align.src_lmks"], kit_inputs["align.drv_lmks"]
    prepared = official_inputs(
        kit_inputs["align.source_u8"],
        list(kit_inputs["align.driving_u8"][kept]),
        source_points,
        list(driver_points[kept]),
        list(kit_inputs["align.local_lmks"][kept]),
    )
    conditions, local = prepared.conditions.numpy(), prepared.local.numpy()
    more = np.stack([official_resize(m.transpose(1, 2, 0), SIDE) * 2 - 1 for m in kit_inputs["more_sources_u8"]])
    return {
        "prep.source_s8": prepared.source.numpy()[:, ::8, ::8],
        "prep.source_stats": _stats(prepared.source.numpy()[None]),
        "prep.conditions_s8": conditions[:, :, ::8, ::8],
        "prep.conditions_stats": _stats(conditions),
        "prep.conditions_frame2_crop": conditions[2, :, 232:280, 200:248],
        "prep.local_s8": local[:, :, ::8, ::8],
        "prep.local_stats": _stats(local),
        "prep.local_nonblank_box": np.array([_box((frame != -1).any(0)) for frame in local]),
        # The official script globs the extra pictures in no fixed order; the kit sorts each column.
        "prep.more_source0_stats": np.sort(_stats(more), axis=0),
    }


def _corners(points: np.ndarray) -> np.ndarray:
    # In float32 as the official code: warpAffine rounds places to 1/32 pixel, and the last bit decides which.
    points = np.asarray(points, np.float32)
    (x, y), (half_x, half_y) = points.mean(0), (points.max(0) - points.min(0)) / 2
    return np.array([[x - half_x, y - half_y], [x + half_x, y - half_y], [x - half_x, y + half_y]], np.float32)


def _tensor(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((frames * 2 - 1).astype(np.float32)).permute(0, 3, 1, 2).contiguous()  # [f, 3, s, s]


def _stats(frames: np.ndarray) -> np.ndarray:
    flat = frames.reshape(len(frames), -1).astype(np.float64)
    return np.stack([flat.mean(1), flat.std(1)], 1)


def _box(mask: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return [-1, -1, -1, -1, 0]
    return [int(v) for v in (rows.min(), rows.max(), columns.min(), columns.max(), mask.sum())]


def _missing(package: str) -> str:
    return f"the alignment arrays need {package}: pip install {package}"
