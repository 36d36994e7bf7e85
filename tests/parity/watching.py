"""Watching the inside of a network while it runs: the outputs of its numbered blocks, and of single modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor, nn

from mien.interop.keys import temporal_modules, unet_blocks
from mien.models.x_portrait import XPortraitConfig, XPortraitNetworks


def statistics(rows: Tensor) -> np.ndarray:
    """Mean and population standard deviation of every row, [rows, 2] float64."""
    flat = rows.detach().double().flatten(1)
    return np.stack([flat.mean(1).numpy(), flat.std(1, correction=0).numpy()], axis=1)


class Watch:
    """Keeps what chosen modules give: `outputs`, and `inputs` (the first argument), by the name they were given."""

    def __init__(self) -> None:
        self.outputs: dict[str, Tensor] = {}
        self.inputs: dict[str, Tensor] = {}

    @contextmanager
    def on(self, modules: dict[str, nn.Module]) -> Iterator[Watch]:
        """Watch these modules inside the block."""
        handles = [module.register_forward_hook(self._keeper(name)) for name, module in modules.items()]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _keeper(self, name: str) -> Any:
        def keep(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            if arguments:
                self.inputs[name] = arguments[0]
            self.outputs[name] = output[0] if isinstance(output, tuple) else output

        return keep


def named_places(networks: XPortraitNetworks, config: XPortraitConfig, part: str) -> dict[str, nn.Module]:
    """Modules of the U-Net or R whose outputs are those of the official blocks, by their official names."""
    network = getattr(networks, part)
    places = {block.official: network.get_submodule(block.layers[-1]) for block in unet_blocks(config)}
    places["time_embed"] = network.time_embedding
    if part == "unet" and networks.temporal is not None:
        modules = temporal_modules(config).items()
        places.update({official: networks.temporal.get_submodule(ours) for official, ours in modules})
        places["out"] = network.conv_out
    return places
