"""An autoencoder without weights: squares of pixels are the channels of one latent.

Pixel-space diffusion by a U-Net that works on patches (as in Hoogeboom, Heek, Salimans: simple diffusion, 2023, section
3.2). It stands where Stable Diffusion's AutoencoderKL stands, loses nothing and costs nothing; diffusers has no such
model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class PatchLatents:
    """Latents [b, c, h, w] in the place of AutoencoderKL's posterior, which here has no spread."""

    latents: Tensor

    @property
    def mean(self) -> Tensor:
        """The latents."""
        return self.latents

    def mode(self) -> Tensor:
        """The latents."""
        return self.latents

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """The latents; nothing is drawn."""
        return self.latents


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Pictures [b, 3, h, w] to latents [b, 3 * patch^2, h / patch, w / patch] and back, exactly.

    Args:
        patch: side of a square of pixels.
        scaling_factor: as AutoencoderKL's: what latents are multiplied by before diffusion.
    """

    @register_to_config
    def __init__(self, patch: int = 4, scaling_factor: float = 1.0) -> None:
        super().__init__()
        # kept, so that there is a file of weights to save and load, a device and a type
        self.register_buffer("anchor", torch.zeros(1))
        self.patch = patch

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.anchor.device

    @property
    def dtype(self) -> torch.dtype:
        """Its floating type."""
        return self.anchor.dtype

    def encode(self, pictures: Tensor) -> AutoencoderKLOutput:
        """Pictures [b, 3, h, w] in [-1, 1], sides divisible by the patch."""
        return AutoencoderKLOutput(latent_dist=PatchLatents(functional.pixel_unshuffle(pictures, self.patch)))

    def decode(self, latents: Tensor) -> DecoderOutput:
        """Latents [b, 3 * patch^2, h, w] to pictures."""
        return DecoderOutput(sample=functional.pixel_shuffle(latents, self.patch))
