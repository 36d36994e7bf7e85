"""X-Portrait (SIGGRAPH 2024): networks over diffusers' blocks."""

from mien.models.sd_backbone.reference_attention import ReferenceFeatures
from mien.models.x_portrait.config import FACE_WINDOW, NANO, PRESETS, SD15, PatchConfig, VaeConfig, XPortraitConfig
from mien.models.x_portrait.networks import ControlFeatures, XPortraitNetworks, build
from mien.models.x_portrait.window_head import WindowChange, WindowHead

__all__ = [
    "FACE_WINDOW",
    "NANO",
    "PRESETS",
    "SD15",
    "ControlFeatures",
    "PatchConfig",
    "ReferenceFeatures",
    "VaeConfig",
    "WindowChange",
    "WindowHead",
    "XPortraitConfig",
    "XPortraitNetworks",
    "build",
]
