"""Poses, crops, alignment and patches: plain arithmetic on pictures and points, no networks."""

from __future__ import annotations

from mien.geometry.alignment import align_frame, driver_alignment
from mien.geometry.best_frame import FrameAspects, choose_best_frame, face_distance
from mien.geometry.crops import SquareCrop, driver_crop, portrait_crop
from mien.geometry.motion_inputs import face_crop, face_oval, masked_frame
from mien.geometry.paste import paste_back
from mien.geometry.patches import local_patches, patch_boxes
from mien.geometry.pose import HeadPose
from mien.geometry.turned import TurnedSquare

__all__ = [
    "FrameAspects",
    "HeadPose",
    "SquareCrop",
    "TurnedSquare",
    "align_frame",
    "choose_best_frame",
    "driver_alignment",
    "driver_crop",
    "face_crop",
    "face_distance",
    "face_oval",
    "local_patches",
    "masked_frame",
    "paste_back",
    "patch_boxes",
    "portrait_crop",
]
