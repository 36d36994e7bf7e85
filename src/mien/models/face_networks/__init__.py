"""Google's face networks (MediaPipe, Apache-2.0) as plain torch modules; weights: `mien/weights/face_networks`.

Every module takes pictures [b, 3, h, w] of a fixed side and runs a whole batch at once, on the CPU or a GPU.
"""

from __future__ import annotations

from mien.models.face_networks.blendshapes import BLENDSHAPE_POINTS, BlendshapeNetwork
from mien.models.face_networks.detectors import Candidates, Detector, FullRangeDetector, ShortRangeDetector
from mien.models.face_networks.landmarks import POINTS, LandmarkNetwork, LandmarkOutput
from mien.models.face_networks.person_mask import PersonMaskNetwork

__all__ = [
    "BLENDSHAPE_POINTS",
    "POINTS",
    "BlendshapeNetwork",
    "Candidates",
    "Detector",
    "FullRangeDetector",
    "LandmarkNetwork",
    "LandmarkOutput",
    "PersonMaskNetwork",
    "ShortRangeDetector",
]
