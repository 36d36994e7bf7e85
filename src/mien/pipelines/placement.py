"""Where a pipeline's weights lie, and in what: whole on the device, brought there when they are needed, or smaller."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from mien.errors import InputError

_CHANNELS_LAST = ("cpu", "cuda")  # where convolutions are quicker with a pixel's channels side by side
_NEEDS = {"model": "accelerate", "int8": "torchao"}


def place(pipe: Any, device: torch.device, offload: str = "none", quantize: str = "none") -> Any:
    """Quantise a pipeline that stands on the CPU, and have it run on a device.

    Args:
        pipe: a `PortraitPipeline`.
        device: where it computes.
        offload: "model": every network is on the device while it computes; "group": every layer.
        quantize: "fp8": weights are stored in 8 bits of floating point and cast layer by layer (diffusers' layerwise
            casting); "int8": those of linear layers in whole numbers with a scale a row (torchao). Of the large
            networks of the denoising alone: the autoencoder and encoders stay as they are.

    Raises:
        InputError: where it makes no sense or a package is missing.
    """
    check_placement(device, offload, quantize)
    if device.type in _CHANNELS_LAST:
        for _, part in large_parts(pipe):
            part.to(memory_format=torch.channels_last)
    if quantize != "none":
        quantize_weights(pipe, quantize)
    if offload == "none":
        return pipe.to(device)
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
        return pipe
    return offload_layers(pipe, device)


def check_placement(device: torch.device, offload: str, quantize: str) -> None:
    """Refuse what cannot be done here.

    Args:
        device: where the model is to run.
        offload: "none", "model" or "group".
        quantize: "none", "int8" or "fp8".

    Raises:
        InputError: it needs a GPU, or a package that is not installed.
    """
    if offload != "none" and device.type == "cpu":
        raise InputError(
            f"--offload is {offload}, which keeps weights in main memory, but --device cpu computes there: leave it out"
        )
    for name, value in (("offload", offload), ("quantize", quantize)):
        package = _NEEDS.get(value)
        if package is not None and find_spec(package) is None:
            raise InputError(f'--{name} {value} needs the package {package}: pip install "mien[scale]"')


def offload_layers(pipe: Any, device: torch.device) -> Any:
    """Have the large networks' layers in main memory, each on the device only while it computes.

    Without streams that bring the next layer meanwhile: diffusers takes their order from the first pass, but here it
    changes, since both branches of the guidance share layers and the keys of a portrait are made once a timestep.

    Args:
        pipe: any pipeline; changed in place.
        device: where layers compute.

    Returns:
        The pipeline.
    """
    from diffusers.hooks import apply_group_offloading

    large = dict(large_parts(pipe))
    for name, part in pipe.components.items():
        if name in large:
            # leaves, not blocks: the networks are walked layer by layer, so a block's own forward is never called
            apply_group_offloading(part, onload_device=device, offload_type="leaf_level")
        elif isinstance(part, nn.Module):
            part.to(device)
    return pipe


def quantize_weights(pipe: Any, kind: str) -> None:
    """Store the weights of a pipeline's large networks in 8 bits.

    Args:
        pipe: changed in place.
        kind: "int8" (linear layers, by torchao) or "fp8" (convolutions too, by diffusers).
    """
    for _, part in large_parts(pipe):
        if kind == "fp8":
            part.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=part.dtype)
        else:
            from torchao.quantization import Int8WeightOnlyConfig, quantize_

            quantize_(part, Int8WeightOnlyConfig())


def large_parts(pipe: Any) -> Iterator[tuple[str, Any]]:
    """The networks of the denoising.

    Args:
        pipe: any pipeline.

    Yields:
        Name and network.
    """
    for name in getattr(pipe, "large_parts", ()):
        part = getattr(pipe, name)
        if part is not None:
            yield name, part


def offloading(pipe: Any) -> str:
    """What a pipeline keeps in main memory, whoever switched that on.

    Args:
        pipe: any pipeline.

    Returns:
        "none", "model" or "group".
    """
    if getattr(pipe, "_all_hooks", None):
        return "model"
    registries = (getattr(m, "_diffusers_hook", None) for _, part in large_parts(pipe) for m in part.modules())
    moved = any(registry is not None and registry.get_hook("group_offloading") is not None for registry in registries)
    return "group" if moved else "none"


def stored_bytes(part: nn.Module, dtype: torch.dtype, quantize: str = "none") -> int:
    """What a network's weights take.

    Args:
        part: the network.
        dtype: of its weights.
        quantize: "none", "int8" or "fp8".

    Returns:
        Bytes.
    """
    small = 0
    if quantize != "none":
        from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN

        kinds = (nn.Linear,) if quantize == "int8" else (nn.Linear, nn.Conv2d)
        for name, module in part.named_modules():
            kept = quantize == "fp8" and any(re.search(pattern, name) for pattern in DEFAULT_SKIP_MODULES_PATTERN)
            if isinstance(module, kinds) and not kept:
                bias = module.bias if quantize == "fp8" else None
                small += module.weight.numel() + (0 if bias is None else bias.numel())
    total = sum(weight.numel() for weight in part.parameters())
    return small + (total - small) * dtype.itemsize


def free_bytes(device: torch.device) -> int | None:
    """Memory of a GPU that is free for tensors.

    Args:
        device: any.

    Returns:
        Bytes; None: not known, or shared with everything else.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return None
