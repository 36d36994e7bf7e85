"""The sizes of an official X-Portrait model, read off the shapes of its state dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mien.errors import WeightsError
from mien.models.x_portrait import VaeConfig, XPortraitConfig

Shapes = Mapping[str, Sequence[int]]

_UNET = "model.diffusion_model."
_VAE = "first_stage_model."


def config_from_shapes(
    shapes: Shapes,
    heads: int = 8,
    temporal_heads: int = 8,
    image_size: int = 512,
    context_tokens: int = 77,
    scaling_factor: float = 0.18215,
) -> XPortraitConfig:
    """Our configuration of an official model from the shapes of its entries.

    What shapes do not tell has the published values as defaults: numbers of heads, side of the pictures, length of the
    context, scale of the latents. Raises WeightsError where the entries are no X-Portrait model.
    """
    try:
        widths, attends, layers = _levels(shapes)
        vae = _vae(shapes, scaling_factor, image_size)
        first = next(level for level, on in enumerate(attends) if on)
        return XPortraitConfig(
            name="official",
            image_size=image_size,
            block_out_channels=widths,
            attention_levels=attends,
            heads=(heads,) * len(widths),
            layers_per_block=layers,
            context_dim=shapes[f"{_UNET}{_first_attention(layers, first)}.attn2.to_k.weight"][1],
            context_tokens=context_tokens,
            hint_channels=tuple(shapes[f"pose_control_model.input_hint_block.{i}.weight"][0] for i in (0, 4, 8, 12)),
            temporal_heads=temporal_heads,
            temporal_positions=_positions(shapes),
            vae=vae,
        )
    except (KeyError, StopIteration, IndexError) as error:
        missing = f": {error.args[0]} is missing" if isinstance(error, KeyError) else ""
        raise WeightsError(f"this is not an official X-Portrait checkpoint{missing}.") from error


def _levels(shapes: Shapes) -> tuple[tuple[int, ...], tuple[bool, ...], int]:
    """Width and attention of every level of the U-Net, and residual blocks per level."""
    levels: list[list[tuple[int, bool]]] = [[]]
    number = 1
    while True:
        block = f"{_UNET}input_blocks.{number}."
        if f"{block}0.op.weight" in shapes:
            levels.append([])
        elif f"{block}0.in_layers.2.weight" in shapes:
            levels[-1].append((shapes[f"{block}0.in_layers.2.weight"][0], f"{block}1.norm.weight" in shapes))
        else:
            break
        number += 1
    if not levels[0]:
        raise KeyError(f"{_UNET}input_blocks.1.0.in_layers.2.weight")
    first = [level[0] for level in levels]
    return tuple(width for width, _ in first), tuple(on for _, on in first), len(levels[0])


def _first_attention(layers: int, level: int) -> str:
    """Official path of the first transformer block, at this level."""
    return f"input_blocks.{1 + level * (layers + 1)}.1.transformer_blocks.0"


def _positions(shapes: Shapes) -> int:
    module = f"{_UNET}input_blocks_motion_module.0.0.temporal_transformer.transformer_blocks.0.attention_blocks.0"
    return int(shapes[f"{module}.pos_encoder.pe"][1])


def _vae(shapes: Shapes, scaling_factor: float, image_size: int) -> VaeConfig:
    widths: list[int] = []
    layers = 0
    while f"{_VAE}encoder.down.{len(widths)}.block.0.conv1.weight" in shapes:
        widths.append(shapes[f"{_VAE}encoder.down.{len(widths)}.block.0.conv1.weight"][0])
    while f"{_VAE}encoder.down.0.block.{layers}.conv1.weight" in shapes:
        layers += 1
    return VaeConfig(
        block_out_channels=tuple(widths),
        layers_per_block=layers,
        latent_channels=shapes[f"{_VAE}decoder.conv_in.weight"][1],
        mid_block_attention=f"{_VAE}encoder.mid.attn_1.q.weight" in shapes,
        scaling_factor=scaling_factor,
        sample_size=image_size,
    )
