"""Weights stored in 8 bits: half the file of half precision; networks still compute in floating point.

A large weight "x" [out, ...] is stored as whole numbers "x" from -127 to 127 and a scale for each output channel,
"x.int8_scale" [out] in single precision, whose product it is (symmetric weight-only quantisation). Everything else
stays as it was. `pipelines.loading.load_part` restores the weights when it reads the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mien.media.files import utf8_path, whole_file

SCALE = ".int8_scale"  # what is added to a weight's name
STORED = "I8"  # how safetensors calls the type
_SMALLEST = 32768  # numbers of a weight that is worth it


def with_scales(shapes: Mapping[str, torch.Size], types: Mapping[str, str]) -> dict[str, torch.Size]:
    """The shapes of all that a file must hold: a network's weights, and a scale for each that the file has in 8 bits.

    Args:
        shapes: of the network's weights.
        types: safetensors' types of the file's tensors.

    Returns:
        Shapes by name.
    """
    return {**shapes, **{name + SCALE: shape[:1] for name, shape in shapes.items() if types.get(name) == STORED}}


def restored(stored: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A weight from what is stored.

    Args:
        stored: [out, ...] int8.
        scale: [out] float32.
        dtype: of the result.

    Returns:
        [out, ...], at most half a scale from what it was before.
    """
    return (stored.float() * scale.reshape(-1, *[1] * (stored.ndim - 1))).to(dtype)


def store_in_int8(path: Path, smallest: int = _SMALLEST) -> None:
    """Rewrite a safetensors file with its large weights in 8 bits; those that are stored so already stay as they are.

    Args:
        path: the file; it appears whole or stays as it was.
        smallest: how many numbers a weight of two dimensions or more has at least to be worth it.

    Raises:
        OutputError: it cannot be written.
    """
    with utf8_path(path) as found, safe_open(found, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
    for name, weight in list(tensors.items()):
        if weight.is_floating_point() and weight.ndim >= 2 and weight.numel() >= smallest:
            rows = weight.float().flatten(1)
            scale = rows.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / 127
            tensors[name] = (rows / scale[:, None]).round().to(torch.int8).reshape(weight.shape)
            tensors[name + SCALE] = scale
    with whole_file(path) as temporary:
        save_file(tensors, temporary, metadata)
