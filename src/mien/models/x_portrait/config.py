"""One configuration for every size of X-Portrait, and its two presets: `SD15` (published size) and `NANO`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class VaeConfig:
    """Widths of the autoencoder (diffusers' AutoencoderKL); 2^(levels - 1) pixels become one latent."""

    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    latent_channels: int = 4
    norm_num_groups: int = 32
    mid_block_attention: bool = True
    scaling_factor: float = 0.18215
    sample_size: int = 512

    def to_diffusers(self) -> dict[str, Any]:
        """Keyword arguments of `diffusers.AutoencoderKL`."""
        levels = len(self.block_out_channels)
        return {
            "in_channels": 3,
            "out_channels": 3,
            "down_block_types": ("DownEncoderBlock2D",) * levels,
            "up_block_types": ("UpDecoderBlock2D",) * levels,
            "block_out_channels": self.block_out_channels,
            "layers_per_block": self.layers_per_block,
            "latent_channels": self.latent_channels,
            "norm_num_groups": self.norm_num_groups,
            "mid_block_add_attention": self.mid_block_attention,
            "scaling_factor": self.scaling_factor,
            "sample_size": self.sample_size,
            "force_upcast": False,
        }


@dataclass(frozen=True)
class PatchConfig:
    """In the VAE's place: `patch` x `patch` pixels are the channels of a latent, see `PatchAutoencoder`."""

    patch: int = 4

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return 3 * self.patch**2

    def to_diffusers(self) -> dict[str, Any]:
        """Keyword arguments of `PatchAutoencoder`."""
        return {"patch": self.patch}


@dataclass(frozen=True)
class XPortraitConfig:
    """Sizes of X-Portrait's networks.

    `attention_levels[i]` says whether level i of the U-Net has transformer blocks (SD 1.5: all but the last).
    `heads` is the number of attention heads at each level. `source_in_sample` appends the source latents to the noisy
    ones on the U-Net's first convolution and adds them to its result, so that it predicts the difference to them:
    off at full size (the published model finds everything by reference attention), on at nano size, where 16 x 16
    tokens alone would have to carry the background's pixels and a small training could not even learn to copy.
    `reference_tail`: see `AppearanceReference`. `local_hint_channels`: of the local control, whose pictures have
    twice the side of the other control's for every level more. `face_window`: the model works on face windows (nano),
    whose pictures `WindowHead` finishes.
    """

    name: str = "sd15"
    image_size: int = 512
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attention_levels: tuple[bool, ...] = (True, True, True, False)
    heads: tuple[int, ...] = (8, 8, 8, 8)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    context_dim: int = 768
    context_tokens: int = 77
    hint_channels: tuple[int, ...] = (16, 32, 96, 256)
    local_hint_channels: tuple[int, ...] | None = None
    temporal_heads: int = 8
    temporal_positions: int = 24
    source_in_sample: bool = False
    reference_tail: bool = True
    prediction_type: str = "epsilon"
    vae: VaeConfig | PatchConfig = field(default_factory=VaeConfig)
    face_window: bool = False

    def _blocks(self) -> dict[str, Any]:
        cross = ["CrossAttnDownBlock2D" if on else "DownBlock2D" for on in self.attention_levels]
        return {
            "down_block_types": tuple(cross),
            "block_out_channels": self.block_out_channels,
            "layers_per_block": self.layers_per_block,
            "norm_num_groups": self.norm_num_groups,
            "cross_attention_dim": self.context_dim,
            # diffusers' historical misnomer: this is the number of heads, not their width
            "attention_head_dim": self.heads,
        }

    def unet(self) -> dict[str, Any]:
        """Keyword arguments of the spatial U-Net, `diffusers.UNet2DConditionModel`."""
        channels = self.vae.latent_channels
        return {
            **self._blocks(),
            "sample_size": self.latent_size,
            "in_channels": channels * (2 if self.source_in_sample else 1),
            "out_channels": channels,
            "up_block_types": tuple(
                "CrossAttnUpBlock2D" if on else "UpBlock2D" for on in reversed(self.attention_levels)
            ),
        }

    def appearance_reference(self) -> dict[str, Any]:
        """Keyword arguments of the appearance reference R: a U-Net that reads the clean source latents."""
        return {**self.unet(), "in_channels": self.vae.latent_channels, "tail": self.reference_tail}

    def motion_control(self) -> dict[str, Any]:
        """Keyword arguments of the motion ControlNet C."""
        return {
            **self._blocks(),
            "in_channels": self.vae.latent_channels,
            "conditioning_channels": 3,
            "conditioning_embedding_out_channels": self.hint_channels,
        }

    def local_control(self) -> dict[str, Any]:
        """Keyword arguments of the local control C_l."""
        own = self.local_hint_channels or self.hint_channels
        return {**self.motion_control(), "conditioning_embedding_out_channels": own}

    def window_head(self) -> dict[str, Any]:
        """Keyword arguments of the window head."""
        assert isinstance(self.vae, PatchConfig)
        return {"features": self.block_out_channels[0], "patch": self.vae.patch}

    def temporal(self) -> dict[str, Any]:
        """Keyword arguments of the temporal modules M."""
        return {
            "block_out_channels": self.block_out_channels,
            "layers_per_block": self.layers_per_block,
            "heads": self.temporal_heads,
            "positions": self.temporal_positions,
            "norm_num_groups": self.norm_num_groups,
        }

    def empty_prompt(self) -> dict[str, Any]:
        """Keyword arguments of the constant context."""
        return {"tokens": self.context_tokens, "dim": self.context_dim}

    @property
    def latent_size(self) -> int:
        """Side of the latent square."""
        if isinstance(self.vae, PatchConfig):
            return self.image_size // self.vae.patch
        return self.image_size // 2 ** (len(self.vae.block_out_channels) - 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


SD15 = XPortraitConfig()

NANO = XPortraitConfig(
    name="nano",
    image_size=256,
    # small on purpose: the full-size recipe, to be tried on a processor
    block_out_channels=(32, 64, 96),
    attention_levels=(False, True, True),
    heads=(1, 2, 3),
    layers_per_block=1,
    norm_num_groups=8,
    context_dim=64,
    context_tokens=1,
    hint_channels=(8, 16, 32, 64),
    temporal_heads=2,
    source_in_sample=True,
    reference_tail=False,
    prediction_type="sample",
    vae=VaeConfig(
        block_out_channels=(16, 32, 64, 128),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=8,
        mid_block_attention=False,
        scaling_factor=1.0,
        sample_size=256,
    ),
)

FACE_WINDOW = XPortraitConfig(
    name="face-window",
    image_size=192,
    # wide and coarse: four times fewer places than patches of 2 x 2, which learned half as much in the same time
    block_out_channels=(64, 96, 128),
    # attention over 12 x 12 places alone: over 24 x 24 it is half of a training step on a processor
    attention_levels=(False, False, True),
    heads=(2, 3, 4),
    layers_per_block=1,
    norm_num_groups=8,
    context_dim=32,
    context_tokens=1,
    hint_channels=(16, 32, 64),
    local_hint_channels=(8, 16, 32, 64),
    temporal_heads=4,
    source_in_sample=True,
    reference_tail=False,
    prediction_type="sample",
    vae=PatchConfig(4),
    face_window=True,
)

PRESETS = {preset.name: preset for preset in (SD15, NANO, FACE_WINDOW)}
