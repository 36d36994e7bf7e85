"""X-Portrait (SIGGRAPH 2024): networks over diffusers' blocks."""

from mien.models.x_portrait.config import NANO, PRESETS, SD15, VaeConfig, XPortraitConfig
from mien.models.x_portrait.networks import Hints, XPortraitNetworks, build
from mien.models.x_portrait.reference_attention import ReferenceBank

__all__ = [
    "NANO",
    "PRESETS",
    "SD15",
    "Hints",
    "ReferenceBank",
    "VaeConfig",
    "XPortraitConfig",
    "XPortraitNetworks",
    "build",
]
