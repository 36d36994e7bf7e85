"""Poses, crops, alignment and patches: plain arithmetic on pictures and points, no networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.lazy import lazy_names

if TYPE_CHECKING:
    from mien.geometry.alignment import align_frame, driver_alignment
    from mien.geometry.crops import SquareCrop, driver_crop, portrait_crop
    from mien.geometry.paste import paste_back
    from mien.geometry.patches import local_patches, patch_boxes
    from mien.geometry.pose import HeadPose
    from mien.geometry.turned import TurnedSquare

_HOMES = {
    "HeadPose": "mien.geometry.pose",
    "SquareCrop": "mien.geometry.crops",
    "TurnedSquare": "mien.geometry.turned",
    "align_frame": "mien.geometry.alignment",
    "driver_alignment": "mien.geometry.alignment",
    "driver_crop": "mien.geometry.crops",
    "local_patches": "mien.geometry.patches",
    "paste_back": "mien.geometry.paste",
    "patch_boxes": "mien.geometry.patches",
    "portrait_crop": "mien.geometry.crops",
}

__all__ = [
    "HeadPose",
    "SquareCrop",
    "TurnedSquare",
    "align_frame",
    "driver_alignment",
    "driver_crop",
    "local_patches",
    "paste_back",
    "patch_boxes",
    "portrait_crop",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
