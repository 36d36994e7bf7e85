"""X-Portrait (SIGGRAPH 2024): networks over diffusers' blocks."""

from mien.models.sd_backbone.reference_attention import ReferenceFeatures
from mien.models.x_portrait.config import NANO, PRESETS, SD15, VaeConfig, XPortraitConfig
from mien.models.x_portrait.networks import ControlFeatures, XPortraitNetworks, build

__all__ = [
    "NANO",
    "PRESETS",
    "SD15",
    "ControlFeatures",
    "ReferenceFeatures",
    "VaeConfig",
    "XPortraitConfig",
    "XPortraitNetworks",
    "build",
]
