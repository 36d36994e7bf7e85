"""Time of one window at one step, ours against the published code's networks with the same weights, in one run.

    git clone https://github.com/bytedance/X-Portrait && pip install einops
    python benchmarks/published.py X-Portrait [--channels 64] [--side 128] [--rounds 3] [--compile]

Both guide (two passes of the U-Net) and both read the portrait, the published code for every frame of the window as it
does, ours once for all of them; its networks encode the driving pictures at every step, ours once a clip, which is left
out. Seconds are those of the processor, so that other programs disturb little; the least of the rounds counts, taken in
turn. --compile has torch compile our residual blocks and feed-forwards first. Prints the ratio, and the largest
difference of the guided predictions; exits with 1 if that is above 1e-4.

The published code's attention writes its scores down, so that its time grows with positions squared: for each position,
heads x positions over channels squared says how that compares with the layers. The published model has 8 x 4096 /
320^2 = .32 at 512 px; --channels 128 has .13 at --side 128, .28 at 192, .5 at 256 and .78 at 320.
"""

from __future__ import annotations

import argparse
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from mien.interop.keys import key_map
from mien.models.sd_backbone.backbone import FirstLayers
from mien.models.x_portrait import VaeConfig, XPortraitConfig, XPortraitNetworks, build

MULTIPLES = (1, 2, 4, 4)
GUIDANCE = 5.0


@dataclass
class Window:
    """Noisy latents [f, 4, h, w], the source's [1, 4, h, w], driving and local pictures [f, 3, H, W], the context."""

    noisy: Tensor
    source: Tensor
    pictures: Tensor
    context: Tensor
    timestep: Tensor


def published_networks(folder: Path, channels: int, context: int) -> dict[str, nn.Module]:
    """The four networks of the published code, by the prefix of their entries in its checkpoint."""
    sys.path.insert(0, str(folder))
    # what its files import and networks alone do not use
    for name, content in {
        "torchvision": {},
        "omegaconf": {},
        "omegaconf.listconfig": {"ListConfig": tuple},
        "model_lib.ControlNet.ldm.models.diffusion.ddpm": {"LatentDiffusionReferenceOnly": object},
    }.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        sys.modules.setdefault(name, module)
    from model_lib.ControlNet.cldm import cldm
    from model_lib.ControlNet.ldm.modules import motion_module

    if motion_module.xformers is None:  # which its temporal attention cannot do without: torch's own in its place
        attend = nn.functional.scaled_dot_product_attention
        ops = types.SimpleNamespace(memory_efficient_attention=lambda q, k, v, attn_bias: attend(q, k, v, attn_bias))
        motion_module.xformers = types.SimpleNamespace(ops=ops)

    common: dict[str, Any] = {
        "image_size": 32,
        "in_channels": 4,
        "model_channels": channels,
        "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2,
        "channel_mult": list(MULTIPLES),
        "num_heads": 8,
        "use_spatial_transformer": True,
        "transformer_depth": 1,
        "context_dim": context,
        "use_checkpoint": False,
        "legacy": False,
    }
    motion = {
        "num_attention_heads": 8,
        "num_transformer_block": 1,
        "attention_block_types": ["Temporal_Self", "Temporal_Self"],
        "temporal_position_encoding": True,
        "temporal_position_encoding_max_len": 24,
        "temporal_attention_dim_div": 1,
        "zero_initialize": True,
    }
    temporal = {
        "use_motion_module": True,
        "motion_module_resolutions": [1, 2, 4, 8],
        "unet_use_cross_frame_attention": False,
        "unet_use_temporal_attention": False,
        "motion_module_type": "Vanilla",
        "motion_module_kwargs": motion,
    }
    unet = cldm.ControlledUnetModelAttn_Temporal_Pose_Local(**common, out_channels=4, unet_additional_kwargs=temporal)
    return {
        "appearance_control_model.": cldm.ControlNetReferenceOnly(**common, hint_channels=3, out_channels=4),
        "pose_control_model.": cldm.ControlNet(**common, hint_channels=3),
        "local_pose_control_model.": cldm.ControlNet(**common, hint_channels=3),
        "model.diffusion_model.": unet,
    }


def our_networks(published: dict[str, nn.Module], channels: int, context: int, side: int) -> XPortraitNetworks:
    """Ours with the same weights, which become random so that none is zero."""
    config = XPortraitConfig(
        name="published",
        image_size=side,
        block_out_channels=tuple(channels * multiple for multiple in MULTIPLES),
        context_dim=context,
        context_tokens=77,
        vae=VaeConfig((32, 32, 32, 32), 1),
    )
    networks = build(config)
    targets = key_map(config)
    for prefix, network in published.items():
        for name, weight in network.named_parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight, std=0.7 / weight[0].numel() ** 0.5)
            target = targets.get(prefix + name)
            if target is not None:
                part = getattr(networks, target.part).get_parameter(target.name)
                part.data.copy_(weight.data.reshape(part.shape))
    for network in published.values():
        network.eval()
    for network in vars(networks).values():
        if network is not None:  # in the layout in which pipelines hold them, see mien.pipelines.placement
            network.eval().to(memory_format=torch.channels_last)
    return networks


def their_step(networks: dict[str, nn.Module], window: Window) -> Tensor:
    """The guided prediction of the published networks, in the order in which its sampler calls them."""
    reference, pose, local, unet = networks.values()
    count = len(window.noisy)
    times, context = window.timestep.expand(count), window.context.expand(count, -1, -1)
    bank: list[Any] = []
    reference(window.source.repeat(count, 1, 1, 1), None, times, context, attention_bank=bank, attention_mode="write")
    given = {"x": window.noisy, "hint": window.pictures, "timesteps": times, "context": context}
    controls = {"pose_control": pose(**given), "local_pose_control": local(**given)}
    whole = unet(window.noisy, times, context, bank, **controls, attention_mode="read", uc=False)
    bare = unet(window.noisy, times, context, [], attention_mode="read", uc=True)
    return bare + GUIDANCE * (whole - bare)


def our_step(networks: XPortraitNetworks, window: Window, hints: Any) -> Tensor:
    """Ours, as the pipeline's denoiser calls them."""
    count, shared = len(window.noisy), FirstLayers()
    bank = networks.read_appearance([window.source], window.timestep, keep_tokens=False)
    whole = networks.predict(window.noisy, window.timestep, count, bank, hints, shared=shared)
    bare = networks.predict(window.noisy, window.timestep, count, shared=shared)
    return bare + GUIDANCE * (whole - bare)


def compile_blocks(networks: XPortraitNetworks) -> None:
    """Have torch compile what most of the time is spent in, in place; minutes, at the first step."""
    torch._dynamo.config.recompile_limit = 64  # a block is compiled for each size that there is
    for network in vars(networks).values():
        for module in () if network is None else network.modules():
            if isinstance(module, (ResnetBlock2D, FeedForward)):
                module.compile(dynamic=False)


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Processor seconds and result."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


@torch.no_grad()
def main() -> int:
    """Print ratio and difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--channels", type=int, default=64, help="320 in the published model")
    parser.add_argument("--side", type=int, default=128, help="512 in the published model")
    parser.add_argument("--frames", type=int, default=16, help="no other number in the published code")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    torch.manual_seed(0)
    context = 48
    theirs = published_networks(given.folder, given.channels, context)
    ours = our_networks(theirs, given.channels, context, given.side)
    latent = given.side // 8
    noisy, source = torch.randn(given.frames, 4, latent, latent), torch.randn(1, 4, latent, latent)
    pictures = torch.rand(given.frames, 3, given.side, given.side) * 2 - 1
    window = Window(noisy, source, pictures, torch.randn(1, 77, context), torch.tensor(501))
    ours.empty_prompt.context.data.copy_(window.context)
    hints = ours.read_motion(pictures, pictures)
    if given.compile:
        compile_blocks(ours)
        our_step(ours, window, hints)
    seconds: dict[str, list[float]] = {"published": [], "ours": []}
    for _ in range(given.rounds):
        took, wanted = timed(lambda: their_step(theirs, window))
        seconds["published"].append(took)
        took, got = timed(lambda: our_step(ours, window, hints))
        seconds["ours"].append(took)
        print({name: [round(one, 2) for one in taken] for name, taken in seconds.items()}, flush=True)
    difference = float((got - wanted).abs().max() / wanted.abs().max())
    print(f"ratio {min(seconds['ours']) / min(seconds['published']):.3f}, largest difference {difference:.1e}")
    return 0 if difference <= 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
