"""What each part of X-Portrait nano is worth: copies of a model folder in which a part does nothing.

    python benchmarks/window_parts.py MODEL OUT

writes OUT/without-C, OUT/without-C_l, OUT/without-M (where there are temporal modules) and OUT/layers-alone (the
moved portrait as it is, without any paint): to be given to `mien animate --model`, or as systems to `mien evaluate`.
Weights are set to zero where a part hands its work on; nothing else is touched.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Weights = dict[str, Tensor]
FILE = "diffusion_pytorch_model.safetensors"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    variants: dict[str, tuple[str, Callable[[Weights], Weights]]] = {
        "without-C": ("motion_control", silent("controlnet_down_blocks", "controlnet_mid_block")),
        "without-C_l": ("local_control", silent("controlnet_down_blocks", "controlnet_mid_block")),
        "without-M": ("temporal", silent("proj_out")),
        "layers-alone": ("window_head", unpainted),
    }
    for name, (part, change) in variants.items():
        file = given.model / part / FILE
        if not file.is_file():
            print(f"{name}: {given.model} has no {part}")
            continue
        folder = given.out / name
        shutil.copytree(given.model, folder, dirs_exist_ok=True)
        save_file(change(load_file(file)), folder / part / FILE)
        print(folder)


def silent(*layers: str) -> Callable[[Weights], Weights]:
    """All weights of the layers whose names hold one of these words become zero; raises ValueError if none does."""

    def change(weights: Weights) -> Weights:
        chosen = [name for name in weights if any(layer in name for layer in layers)]
        if not chosen:
            raise ValueError(f"no layer is called {' or '.join(layers)}")
        return weights | {name: torch.zeros_like(weights[name]) for name in chosen}

    return change


def unpainted(weights: Weights) -> Weights:
    """A window head that bends nothing and paints nothing."""
    still = silent("flow.", "blend.4.")(weights)
    still["blend.4.bias"][0] = -30.0  # the share's sigmoid
    return still


if __name__ == "__main__":
    main()
