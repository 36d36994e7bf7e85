"""DeX-Portrait (CVPR 2026): explicit head pose and latent expression, each from its own source."""

from mien.models.dex_portrait.config import FACE_WINDOW, FULL, NANO, PRESETS, DeXPortraitConfig
from mien.models.dex_portrait.driving import Gains, Motion, drive_expression, drive_pose
from mien.models.dex_portrait.networks import Conditions, DeXPortraitNetworks, build
from mien.models.dex_portrait.pose import Pose

__all__ = [
    "FACE_WINDOW",
    "FULL",
    "NANO",
    "PRESETS",
    "Conditions",
    "DeXPortraitConfig",
    "DeXPortraitNetworks",
    "Gains",
    "Motion",
    "Pose",
    "build",
    "drive_expression",
    "drive_pose",
]
