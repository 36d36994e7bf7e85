"""One configuration for every size of DeX-Portrait, and its two presets: `FULL` (the paper's sizes) and `NANO`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mien.models.dex_portrait.ray_map import CHANNELS as RAY_CHANNELS
from mien.models.x_portrait.config import FACE_WINDOW as X_FACE_WINDOW
from mien.models.x_portrait.config import NANO as X_NANO
from mien.models.x_portrait.config import SD15, XPortraitConfig


@dataclass(frozen=True)
class PoseEncoderConfig:
    """ConvNeXt V2; the full size is its Tiny.

    Attributes:
        size: side of the pictures, pixels.
        depths: blocks a level.
        dims: channels a level.
        coordinates: show the network two more channels, x and y of every pixel: at nano size a pooled small network
            would need long to learn where things are.
    """

    size: int = 256
    depths: tuple[int, ...] = (3, 3, 9, 3)
    dims: tuple[int, ...] = (96, 192, 384, 768)
    coordinates: bool = False


@dataclass(frozen=True)
class ExpressionEncoderConfig:
    """FAN on a face crop.

    Attributes:
        size: side of the crop, pixels.
        channels: after the stem, at half and at a quarter of its size.
        hourglass_depth: halvings of the hourglass.
        maps: what the linear layer reads.
        code: length of the expression code.
        attention_heads: of the three spatial self-attentions that X-NeMo adds, each 128 wide; 0: none.
        norm: "batch" or "group".
    """

    size: int = 224
    channels: tuple[int, int, int] = (64, 128, 256)
    hourglass_depth: int = 4
    maps: int = 68
    code: int = 512
    attention_heads: int = 8
    norm: str = "batch"


@dataclass(frozen=True)
class FacePoseEncoderConfig:
    """Nano's, see `mien.models.dex_portrait.face_encoders`.

    Attributes:
        size: side of the crops, pixels; the network knows one only.
    """

    size: int = 256


@dataclass(frozen=True)
class FaceExpressionEncoderConfig:
    """Nano's, see `mien.models.dex_portrait.face_encoders`.

    Attributes:
        size: side of the crops, pixels; the network knows one only.
        code: length of the expression code.
    """

    size: int = 256
    code: int = 256


@dataclass(frozen=True)
class MotionTrainerConfig:
    """The generator with which both encoders are trained (supplement, Figure S1), and its discriminator.

    Attributes:
        image_size: side of the pictures, pixels.
        appearance_channels: of the 2D convolutions before the volume.
        volume_channels: of the appearance volume, whose sides are image_size / 4.
        volume_depth: of the appearance volume.
        volume_blocks: its 3D residual blocks.
        style_channels: of the style code's 3D convolutions after each halving.
        appearance: length of the style code.
        resolutions: of the decoder's levels, coarse to fine.
        widths: channels of the decoder's levels.
        rgb: channels of toRGB on each level.
        entry: the level at which features enter.
        discriminator_channels: of s, s / 2, ... down to 4 pixels.
    """

    image_size: int = 256
    appearance_channels: tuple[int, int, int] = (64, 128, 256)
    volume_channels: int = 32
    volume_depth: int = 16
    volume_blocks: int = 6
    style_channels: tuple[int, ...] = (64, 128, 256, 256, 512)
    appearance: int = 2048
    resolutions: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    widths: tuple[int, ...] = (512, 512, 512, 512, 256, 128)
    rgb: tuple[int, ...] = (96, 48, 24, 12, 6, 3)
    entry: int = 2
    discriminator_channels: tuple[int, ...] = (128, 256, 512, 512, 512, 512, 512)


@dataclass(frozen=True)
class DeXPortraitConfig:
    """Sizes of all networks.

    Attributes:
        name: of the preset.
        pose: pose encoder.
        expression: expression encoder.
        motion: motion trainer.
        backbone: of the U-Nets and the VAE.
        tokens: how many the expression code is cut into.
        token_dim: numbers in each. Where tokens x token_dim is not the code's length, tokens are read off it linearly.
        expression_heads: of each expression attention.
        learned_places: expression attentions know where in the picture they are; for face windows, which show faces
            where they expect them.
    """

    name: str = "full"
    pose: PoseEncoderConfig | FacePoseEncoderConfig = field(default_factory=PoseEncoderConfig)
    expression: ExpressionEncoderConfig | FaceExpressionEncoderConfig = field(default_factory=ExpressionEncoderConfig)
    motion: MotionTrainerConfig = field(default_factory=MotionTrainerConfig)
    backbone: XPortraitConfig = SD15
    tokens: int = 32
    token_dim: int = 16
    expression_heads: int = 8
    learned_places: bool = False

    def pose_encoder(self) -> dict[str, Any]:
        """Keyword arguments of `PoseEncoder`."""
        return asdict(self.pose)

    def expression_encoder(self) -> dict[str, Any]:
        """Keyword arguments of `ExpressionEncoder`."""
        return asdict(self.expression)

    def unet(self) -> dict[str, Any]:
        """Keyword arguments of the denoising U-Net: noisy latents, (at nano size the source's,) two ray maps."""
        settings = self.backbone.unet()
        return {**settings, "in_channels": settings["in_channels"] + 2 * RAY_CHANNELS}

    def injection(self) -> dict[str, Any]:
        """Keyword arguments of `MotionInjection`: one entry for every transformer block, in the order of use."""
        return {
            "places": tuple(self._places()),
            "tokens": self.tokens,
            "token_dim": self.token_dim,
            "heads": self.expression_heads,
            "norm_num_groups": self.backbone.norm_num_groups,
            "code": None if self.tokens * self.token_dim == self.expression.code else self.expression.code,
            "learned_places": self.learned_places,
        }

    def window_head(self) -> dict[str, Any]:
        """Keyword arguments of the window head, which sees no driver: the expression comes from the code alone."""
        return {**self.backbone.window_head(), "driver": False}

    def _places(self) -> list[tuple[str, int, int]]:
        """Name, channels and side (of the latent square) of every transformer block of the U-Net."""
        widths, on = self.backbone.block_out_channels, self.backbone.attention_levels
        side, layers, last = self.backbone.latent_size, self.backbone.layers_per_block, len(widths) - 1
        found = []
        for level, width in enumerate(widths):
            for layer in range(layers if on[level] else 0):
                found.append((f"down_blocks.{level}.attentions.{layer}", width, side >> level))
        found.append(("mid_block.attentions.0", widths[-1], side >> last))
        for place, level in enumerate(reversed(range(len(widths)))):
            for layer in range(layers + 1 if on[level] else 0):
                found.append((f"up_blocks.{place}.attentions.{layer}", widths[level], side >> level))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


FULL = DeXPortraitConfig()

NANO = DeXPortraitConfig(
    name="nano",
    pose=PoseEncoderConfig(96, (1, 1, 2, 1), (24, 40, 64, 96), coordinates=True),
    expression=ExpressionEncoderConfig(64, (16, 24, 40), 3, 24, 128, 0, "group"),
    motion=MotionTrainerConfig(
        image_size=128,
        appearance_channels=(24, 48, 64),
        volume_channels=16,
        volume_depth=8,
        volume_blocks=2,
        style_channels=(24, 32, 48, 64),
        appearance=256,
        resolutions=(8, 16, 32, 64, 128),
        widths=(96, 96, 64, 40, 24),
        rgb=(48, 24, 12, 6, 3),
        entry=1,
        discriminator_channels=(16, 32, 64, 96, 128, 128),
    ),
    backbone=replace(
        X_NANO,
        block_out_channels=(32, 64, 64),
        attention_levels=(True, True, True),
        heads=(1, 2, 2),
        norm_num_groups=8,
        context_dim=32,
        temporal_heads=2,
        temporal_positions=24,
    ),
    tokens=8,
    token_dim=16,
    expression_heads=2,
)

# As wide as X-Portrait's, from which it starts; the expression comes in where features are 24 cells a side too.
FACE_WINDOW = replace(
    NANO,
    name="face-window",
    pose=FacePoseEncoderConfig(),
    expression=FaceExpressionEncoderConfig(),
    backbone=replace(
        X_FACE_WINDOW,
        name="dex-face-window",
        attention_levels=(False, True, True),
    ),
    tokens=16,
    token_dim=64,
    expression_heads=4,
    learned_places=True,
)

PRESETS = {preset.name: preset for preset in (FULL, NANO, FACE_WINDOW)}
