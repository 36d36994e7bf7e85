"""Poses, crops, alignment and patches: plain arithmetic on pictures and points, no networks."""

from __future__ import annotations

from mien.geometry.alignment import align_frame, driver_alignment
from mien.geometry.crops import SquareCrop, driver_crop, portrait_crop
from mien.geometry.paste import paste_back
from mien.geometry.patches import local_patches, patch_boxes
from mien.geometry.pose import HeadPose
from mien.geometry.turned import TurnedSquare

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
