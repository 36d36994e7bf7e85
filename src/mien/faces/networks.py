"""How the networks that read faces are loaded, strictly, and what they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mien.errors import WeightsError
from mien.media.files import utf8_path

Network = TypeVar("Network", bound=nn.Module)


def load_weights(network: Network, weights: Path) -> Network:
    """The same network, filled from a file, float32, for reading.

    Args:
        network: to be filled.
        weights: a safetensors file.

    Raises:
        WeightsError: if the file is missing or damaged, or names and shapes do not fit exactly.
    """
    if not weights.is_file():
        raise WeightsError(f"the face reader's weights {weights} do not exist: reinstall mien or give their folder")
    try:
        with utf8_path(weights) as found:
            tensors = load_file(found)
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"{weights} cannot be read by the face reader: {error}") from error
    _check_keys(weights, network.state_dict(), tensors)
    network.load_state_dict({name: part.float() for name, part in tensors.items()}, strict=False)
    return network.eval().requires_grad_(False)


def for_pictures(network: Network, device: str) -> Network:
    """The same network with its kernels laid out with channels last, which is faster on CPUs.

    Args:
        network: to be moved.
        device: of torch.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device)


def _check_keys(path: Path, wanted: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    need, have = set(wanted), set(given)
    wrong = sorted(name for name in need & have if wanted[name].shape != given[name].shape)
    problems = [
        f"{word}: {', '.join(names)}"
        for word, names in (
            ("missing", sorted(need - have)),
            ("unexpected", sorted(have - need)),
            ("of another shape", wrong),
        )
        if names
    ]
    if problems:
        raise WeightsError(f"{path} does not fit the face reader; {'; '.join(problems)}")


def as_tensor(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Pictures as a network takes them.

    Args:
        pictures: uint8 [h, w, 3], all of one size.

    Returns:
        [b, 3, h, w] in [-1, 1].
    """
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return stacked.float().div_(127.5).sub_(1.0).contiguous(memory_format=torch.channels_last)
