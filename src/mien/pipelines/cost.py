"""What a run will cost, counted on the meta device: nothing is computed, no weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import torch
from torch import nn

from mien.diffusion import WindowPlan
from mien.models.x_portrait import XPortraitNetworks
from mien.pipelines.placement import stored_bytes
from mien.pipelines.work import Work, measure

# what kernels need besides their tensors: the counted peak of a decoder is 0.75 of the real one on a CPU
_BESIDES = 4 / 3


@dataclass(frozen=True)
class Cost:
    """What a run needs.

    Attributes:
        flops: of the whole run (a multiply-add is 2).
        bytes: the least peak of memory on the device.
        parts: what it is made of: weights; kept, keys and values of the portrait, and of the driving frames those at
            work; work, the largest of a window, a decoded frame and the reading of the portrait.
        waiting: bytes in main memory for the frames that are under way: on the device too where it has room. On a CPU
            they are part of `bytes`.
        any_length: whether a longer clip needs no more.
    """

    flops: float
    bytes: int
    parts: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    any_length: bool = True


@dataclass(frozen=True)
class Needs:
    """Bytes on the device.

    Attributes:
        reference_features: what R says of the source at one timestep.
        control_features: what the motion controls read in one frame.
        work: of a window, or whatever needs more.
    """

    reference_features: int
    control_features: int
    work: int


def on_meta(networks: XPortraitNetworks, dtype: torch.dtype | None = None) -> XPortraitNetworks:
    """The same networks without storage.

    Args:
        networks: of which only the configs are read.
        dtype: of all; None: single precision.

    Returns:
        Networks on the meta device.
    """
    made: dict[str, Any] = {}
    for name, part in vars(networks).items():
        if part is None:
            made[name] = None
            continue
        with torch.device("meta"):
            made[name] = nn.Module.to(type(part).from_config(part.config), dtype or torch.float32)
    return replace(networks, **made)


def decoder_bytes(vae: Any, image_size: int) -> int:
    """What decoding a frame takes.

    Args:
        vae: the autoencoder; it is not run.
        image_size: side of the frame, pixels.

    Returns:
        Bytes.
    """
    with torch.device("meta"):
        twin = nn.Module.to(type(vae).from_config(vae.config), vae.dtype)
        pixels = torch.empty(1, 3, image_size, image_size, dtype=vae.dtype)
    with torch.no_grad():
        latents = twin.encode(pixels).latent_dist.mode()
    return int(_BESIDES * measure(lambda: twin.decode(latents)).peak)


class _Counted:
    """The networks of a pipeline on the meta device, and what a window of `length` frames takes there."""

    @torch.no_grad()
    def __init__(self, pipe: Any, length: int, guided: bool, references: int) -> None:
        dtype, size = pipe.unet.dtype, pipe.image_size
        nets = self.nets = on_meta(pipe.networks, dtype)
        with torch.device("meta"):
            pixels = torch.empty(1, 3, size, size, dtype=dtype)
            patch = torch.empty(1, 3, pipe.local_size, pipe.local_size, dtype=dtype)
            timestep = torch.empty((), dtype=torch.long)
        source = nets.vae.encode(pixels).latent_dist.mode()
        noisy = source.expand(length, -1, -1, -1).contiguous()
        reference_features = nets.read_appearance([source] * references, timestep)
        control = nets.read_motion(pixels, patch)
        control_features = control.select(torch.zeros(length, dtype=torch.long, device="meta"))
        self.reference = measure(lambda: nets.read_appearance([source] * references, timestep))
        self.control = measure(lambda: nets.read_motion(pixels, patch))
        self.encode = measure(lambda: nets.vae.encode(pixels))
        self.decode = measure(lambda: nets.vae.decode(source))
        self.guided = measure(
            lambda: nets.predict(noisy, timestep, length, reference_features, control_features, source)
        )
        # models of face windows are not guided
        guided = guided and nets.window_head is None
        self.bare = measure(lambda: nets.predict(noisy, timestep, length)) if guided else Work(0, 0)
        a_frame = sum(one.numel() for one in (control.motion, control.local, control.driver) if one is not None)
        works = (self.reference, self.control, self.encode, self.decode, self.guided, self.bare)
        self.needs = Needs(
            reference_features=2
            * dtype.itemsize
            * sum(tokens.numel() for tokens in reference_features.tokens.values()),
            control_features=dtype.itemsize * a_frame,
            work=int(_BESIDES * max(work.peak for work in works)),
        )


def needs(pipe: Any, length: int, guided: bool, references: int) -> Needs:
    """What windows need beside the weights.

    Args:
        pipe: an `XPortraitPipeline`; it is not run.
        length: frames of a window.
        guided: with an unconditional branch.
        references: pictures of the person.

    Returns:
        Bytes of each thing that is kept.
    """
    return _Counted(pipe, length, guided, references).needs


def in_flight(plan: WindowPlan, steps: int, frames: int | None) -> tuple[int, int]:
    """The most timesteps and frames that are under way at once.

    Args:
        plan: the windows.
        steps: denoising steps.
        frames: of the clip; None: without end.

    Returns:
        (timesteps, frames).
    """
    flying = (steps + 2) * plan.stride + plan.length
    if frames is None:
        return steps, flying
    # a clip of one window has done with a timestep before the next one begins
    busy = 1 if frames <= plan.length else min(steps, ceil(frames / plan.stride))
    return busy, min(frames, flying)


def estimate(
    pipe: Any,
    plan: WindowPlan,
    guidance_scale: float,
    frames: int,
    *,
    references: int = 1,
    offload: str = "none",
    quantize: str = "none",
    on_cpu: bool = True,
) -> Cost:
    """Cost of animating a clip with the pipeline's scheduler at the steps that are set.

    Args:
        pipe: may stand on the meta device.
        plan: the windows.
        guidance_scale: 1: no guidance.
        frames: of the clip.
        references: pictures of the portrait.
        offload: see `placement.place`.
        quantize: the same.
        on_cpu: whether the device is the CPU, whose memory holds what waits as well.
    """
    steps, length = len(pipe.scheduler.timesteps), min(plan.length, frames)
    counted = _Counted(pipe, length, guidance_scale != 1, references)
    window = counted.guided.flops + counted.bare.flops
    flops = (
        steps * counted.reference.flops
        + frames * (counted.control.flops + counted.decode.flops)
        + references * counted.encode.flops
        + plan.cost(steps, frames) * window / length
    )
    need, (busy, flying) = counted.needs, in_flight(plan, steps, frames)
    waiting = busy * need.reference_features + flying * need.control_features
    kept = waiting if on_cpu else need.reference_features + length * need.control_features
    parts = {"weights": resident_bytes(pipe, offload, quantize), "kept": kept, "work": need.work}
    whole = not on_cpu or in_flight(plan, steps, None) == (busy, flying)
    return Cost(float(flops), sum(parts.values()), parts, 0 if on_cpu else waiting, any_length=whole)


def resident_bytes(pipe: Any, offload: str = "none", quantize: str = "none") -> int:
    """How much of the weights is on the device at once.

    Args:
        pipe: any pipeline.
        offload: "none", "model" or "group", see `placement`.
        quantize: "none", "int8" or "fp8".

    Returns:
        Bytes.
    """
    sizes: dict[str, int] = {}
    for name, part in pipe.components.items():
        if isinstance(part, nn.Module):
            large = name in pipe.large_parts
            sizes[name] = stored_bytes(part, _dtype_of(part), quantize if large else "none")
    if offload == "none":
        return sum(sizes.values())
    if offload == "group":
        largest = [
            max(stored_bytes(leaf, _dtype_of(leaf)) for leaf in getattr(pipe, name).modules() if not [*leaf.children()])
            for name in pipe.large_parts
            if name in sizes
        ]
        return sum(size for name, size in sizes.items() if name not in pipe.large_parts) + max(largest)
    moved = pipe.model_cpu_offload_seq.split("->")
    stay = sum(size for name, size in sizes.items() if name not in moved)
    # diffusers sends a network away as the next of the sequence comes: the first of it meets the last
    return stay + sizes[moved[-1]] + max(sizes.get(name, 0) for name in moved[:-1])


def _dtype_of(part: nn.Module) -> torch.dtype:
    """Of a network; a layer's is that of its first weight."""
    kind = getattr(part, "dtype", None)
    if isinstance(kind, torch.dtype):
        return kind
    return next((weight.dtype for weight in part.parameters()), torch.float32)
