"""𝓕: Face Vid2Vid (Wang, Mallya, Liu: One-Shot Free-View Neural Talking-Head Synthesis, CVPR 2021).

X-Portrait's paper makes its control images with it. Keypoints in space are found without labels; they turn and move
with the head, and the source's features follow them.
"""

from mien.models.face_vid2vid.config import FULL, NANO, FaceVid2VidConfig
from mien.models.face_vid2vid.motion import Motion, rotation_matrices
from mien.models.face_vid2vid.networks import FaceVid2Vid, Portrait, Rendered

__all__ = ["FULL", "NANO", "FaceVid2Vid", "FaceVid2VidConfig", "Motion", "Portrait", "Rendered", "rotation_matrices"]
