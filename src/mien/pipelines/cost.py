"""What a run will cost, counted on the meta device: nothing is computed, no weight is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mien.diffusion import WindowPlan
from mien.models.x_portrait import XPortraitNetworks


@dataclass(frozen=True)
class Cost:
    """`flops` of the whole run (a multiply-add is 2); `bytes` is an estimate of the peak memory on the device."""

    flops: float
    bytes: int


@torch.no_grad()
def count_flops(work: Callable[[], Any]) -> int:
    """FLOPs of `work`, attention included: fused attention is taken apart, for its kernels are not all counted."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return int(counter.get_total_flops())


def on_meta(networks: XPortraitNetworks) -> XPortraitNetworks:
    """The same networks without storage."""
    made: dict[str, Any] = {}
    for name, part in vars(networks).items():
        if part is None:
            made[name] = None
            continue
        with torch.device("meta"):
            made[name] = type(part).from_config(part.config)
    return replace(networks, **made)


def estimate(pipe: Any, plan: WindowPlan, guidance_scale: float, frames: int, decode_chunk_size: int) -> Cost:
    """Cost of animating `frames` frames with the pipeline's scheduler at the steps that are set."""
    nets, size, steps = on_meta(pipe.networks), pipe.image_size, len(pipe.scheduler.timesteps)
    channels = pipe.unet.config.out_channels
    side = size // 2 ** (len(pipe.vae.config.block_out_channels) - 1)
    references = max(1, len(pipe._sources))
    length = min(plan.length, frames)
    with torch.device("meta"):
        noisy, source = torch.empty(length, channels, side, side), torch.empty(1, channels, side, side)
        pixels, timestep = torch.empty(1, 3, size, size), torch.empty((), dtype=torch.long)
    bank = nets.read_appearance([source] * references, timestep)
    hints = nets.read_motion(pixels.expand(length, -1, -1, -1), pixels.expand(length, -1, -1, -1))
    reference = count_flops(lambda: nets.read_appearance([source] * references, timestep))
    hint = count_flops(lambda: nets.read_motion(pixels, pixels))
    window = count_flops(lambda: nets.predict(noisy, timestep, length, bank, hints, source))
    if guidance_scale != 1:
        window += count_flops(lambda: nets.predict(noisy, timestep, length))
    decode = count_flops(lambda: nets.vae.decode(source))
    encode = count_flops(lambda: nets.vae.encode(pixels))
    denoised = plan.cost(steps, frames)
    flops = steps * reference + frames * (hint + decode) + references * encode + denoised * window / length
    return Cost(
        float(flops), _memory(pipe, plan, bank.tokens, hints.motion[0].numel(), steps, frames, decode_chunk_size)
    )


def _memory(pipe: Any, plan: WindowPlan, tokens: dict[str, Any], hint: int, steps: int, frames: int, chunk: int) -> int:
    """Weights, what is kept (reference tokens with keys and values of every step, hints of the frames in flight),
    and the larger of a window's activations and a decoder chunk's."""
    width = pipe.unet.dtype.itemsize
    weights = sum(_weight_bytes(part) for part in vars(pipe.networks).values() if part is not None)
    kept = 3 * width * steps * sum(t.numel() for t in tokens.values())
    flying = min(frames, (steps + 2) * plan.stride + plan.length)
    kept += 2 * width * hint * flying
    # skips, and about three tensors of the widest level alive at once
    skips = sum(t.numel() for t in tokens.values()) * min(plan.length, frames)
    decoder = 4 * pipe.image_size**2 * pipe.vae.config.block_out_channels[0] * 2 * min(chunk, frames)
    return int(weights + kept + width * max(3 * skips, decoder))


def _weight_bytes(part: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in part.parameters())
