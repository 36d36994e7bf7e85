"""Names of X-Portrait's official state dict and of ours, both ways, derived from the configuration.

The official code numbers the U-Net's blocks flatly (`input_blocks.4.1` is the transformer of the fourth input block);
diffusers nests them by level. One walk over the blocks gives every renamed module; names below those modules agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import torch

from mien.models.x_portrait import VaeConfig, XPortraitConfig, build

# official prefix of every part of ours, in the order of `XPortraitNetworks`; the empty prompt is no official parameter
PREFIXES = {
    "vae": "first_stage_model.",
    "appearance_reference": "appearance_control_model.",
    "motion_control": "pose_control_model.",
    "local_control": "local_pose_control_model.",
    "unet": "model.diffusion_model.",
    "temporal": "model.diffusion_model.",
}

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_VAE_RESNET = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "nin_shortcut": "conv_shortcut"}
_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_TEMPORAL = {
    "norm": "norm",
    "proj_in": "proj_in",
    "transformer_blocks.0.norms.0": "block.norm1",
    "transformer_blocks.0.attention_blocks.0": "block.attn1",
    "transformer_blocks.0.norms.1": "block.norm2",
    "transformer_blocks.0.attention_blocks.1": "block.attn2",
    "transformer_blocks.0.ff_norm": "block.norm3",
    "transformer_blocks.0.ff": "block.ff",
    "proj_out": "proj_out",
}


class Target(NamedTuple):
    """Where an official parameter goes: part, name in that part's state dict, shape there."""

    part: str
    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """One numbered block of the official U-Net and our modules in it, in order; it gives what the last one gives."""

    official: str
    layers: tuple[str, ...]


def unet_blocks(config: XPortraitConfig) -> list[Block]:
    """All blocks of the official U-Net in the order of use."""
    return [*_down_blocks(config), _MIDDLE, *_up_blocks(config)]


_MIDDLE = Block("middle_block", ("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"))


def _down_blocks(config: XPortraitConfig) -> Iterator[Block]:
    yield Block("input_blocks.0", ("conv_in",))
    number, last = 1, len(config.attention_levels) - 1
    for level, attends in enumerate(config.attention_levels):
        ours = f"down_blocks.{level}"
        for layer in range(config.layers_per_block):
            attention = (f"{ours}.attentions.{layer}",) if attends else ()
            yield Block(f"input_blocks.{number}", (f"{ours}.resnets.{layer}", *attention))
            number += 1
        if level < last:
            yield Block(f"input_blocks.{number}", (f"{ours}.downsamplers.0",))
            number += 1


def _up_blocks(config: XPortraitConfig) -> Iterator[Block]:
    number, last = 0, len(config.attention_levels) - 1
    for level, attends in enumerate(reversed(config.attention_levels)):
        ours = f"up_blocks.{level}"
        for layer in range(config.layers_per_block + 1):
            attention = (f"{ours}.attentions.{layer}",) if attends else ()
            ends = layer == config.layers_per_block and level < last
            upsampler = (f"{ours}.upsamplers.0",) if ends else ()
            yield Block(f"output_blocks.{number}", (f"{ours}.resnets.{layer}", *attention, *upsampler))
            number += 1


def temporal_modules(config: XPortraitConfig) -> dict[str, str]:
    """Official path of every temporal module to ours; they are numbered in the order of use on both sides."""
    levels = len(config.block_out_channels)
    counts = {"input": ("down", config.layers_per_block), "output": ("up", config.layers_per_block + 1)}
    return {
        f"{official}_blocks_motion_module.{index}": f"{ours}.{index}"
        for official, (ours, per_level) in counts.items()
        for index in range(levels * per_level)
    }


def _block_renames(blocks: list[Block]) -> dict[str, str]:
    renames = {}
    for block in blocks:
        for index, layer in enumerate(block.layers):
            official = f"{block.official}.{index}"
            if ".resnets." in layer:
                renames.update({f"{official}.{theirs}": f"{layer}.{ours}" for theirs, ours in _RESNET.items()})
            elif ".downsamplers." in layer:
                renames[f"{official}.op"] = f"{layer}.conv"
            else:  # transformers, upsamplers and the first convolution have the same names inside
                renames[official] = layer
    return {**renames, "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2"}


def _control_renames(config: XPortraitConfig) -> dict[str, str]:
    blocks = list(_down_blocks(config))
    renames = _block_renames([*blocks, _MIDDLE])
    renames.update({f"zero_convs.{index}.0": f"controlnet_down_blocks.{index}" for index in range(len(blocks))})
    renames["middle_block_out.0"] = "controlnet_mid_block"
    # the hint encoder: convolutions at even places, SiLU between them
    inner = 2 * (len(config.hint_channels) - 1)
    hint = ["conv_in", *(f"blocks.{index}" for index in range(inner)), "conv_out"]
    renames.update({f"input_hint_block.{2 * i}": f"controlnet_cond_embedding.{name}" for i, name in enumerate(hint)})
    return renames


def _temporal_renames(config: XPortraitConfig) -> dict[str, str]:
    return {
        f"{official}.0.temporal_transformer.{theirs}": f"{module}.{ours}"
        for official, module in temporal_modules(config).items()
        for theirs, ours in _TEMPORAL.items()
    }


def _vae_renames(config: XPortraitConfig) -> dict[str, str]:
    vae = config.vae
    assert isinstance(vae, VaeConfig)  # as every published checkpoint has it
    levels, layers = len(vae.block_out_channels), vae.layers_per_block
    resnets, renames = {}, {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    for level in range(levels):
        mirrored = levels - 1 - level  # the official decoder counts its levels from the picture's side
        for layer in range(layers):
            resnets[f"encoder.down.{level}.block.{layer}"] = f"encoder.down_blocks.{level}.resnets.{layer}"
        for layer in range(layers + 1):
            resnets[f"decoder.up.{level}.block.{layer}"] = f"decoder.up_blocks.{mirrored}.resnets.{layer}"
        renames[f"encoder.down.{level}.downsample"] = f"encoder.down_blocks.{level}.downsamplers.0"
        renames[f"decoder.up.{level}.upsample"] = f"decoder.up_blocks.{mirrored}.upsamplers.0"
    for half in ("encoder", "decoder"):
        renames.update({f"{half}.{name}": f"{half}.{name}" for name in ("conv_in", "conv_out")})
        renames[f"{half}.norm_out"] = f"{half}.conv_norm_out"
        resnets.update({f"{half}.mid.block_{i + 1}": f"{half}.mid_block.resnets.{i}" for i in range(2)})
        attention = f"{half}.mid_block.attentions.0"
        renames.update({f"{half}.mid.attn_1.{a}": f"{attention}.{b}" for a, b in _VAE_ATTENTION.items()})
    for official, ours in resnets.items():
        renames.update({f"{official}.{a}": f"{ours}.{b}" for a, b in _VAE_RESNET.items()})
    return renames


def _renames(part: str, config: XPortraitConfig) -> dict[str, str]:
    """Official module path (without the part's prefix) to our module path."""
    if part == "vae":
        return _vae_renames(config)
    if part == "temporal":
        return _temporal_renames(config)
    if part in ("motion_control", "local_control"):
        return _control_renames(config)
    renames = _block_renames(unet_blocks(config))
    return {**renames, "out.0": "conv_norm_out", "out.2": "conv_out"} if part == "unet" else renames


@lru_cache(maxsize=8)
def key_map(config: XPortraitConfig) -> Mapping[str, Target]:
    """Every official parameter that our networks of this configuration hold, and where it goes.

    Position tables are left out: both sides compute them by one formula (`mien.interop.constants`).
    Raises KeyError for a parameter of ours without an official name: a fault of this file, not of a checkpoint.
    """
    with torch.device("meta"):
        networks = build(config)
    targets: dict[str, Target] = {}
    for part in (field.name for field in fields(networks)):
        if part not in PREFIXES:
            continue
        official_of = {ours: official for official, ours in _renames(part, config).items()}
        for name, parameter in getattr(networks, part).named_parameters():
            module, rest = _split(name, official_of)
            official = f"{PREFIXES[part]}{official_of[module]}{rest}"
            targets[official] = Target(part, name, tuple(parameter.shape))
    return MappingProxyType(targets)


def _split(name: str, modules: dict[str, str]) -> tuple[str, str]:
    """The renamed module that a parameter lies in, and the rest of its name with the leading dot."""
    module = name
    while module not in modules:
        module, dot, _ = module.rpartition(".")
        if not dot:
            raise KeyError(f"no official name for {name}")
    return module, name[len(module) :]
