"""What each part of X-Portrait nano is worth: copies of a model folder in which a part does nothing.

    python benchmarks/window_parts.py MODEL OUT
    python benchmarks/window_parts.py without-layers -s portrait.jpg -d driver.mp4 -o out.mp4

The first writes OUT/without-C, OUT/without-C_l, OUT/without-both, OUT/without-M (where there are temporal modules) and
OUT/layers-alone (the moved portrait as it is, without any paint): to be given to `mien animate --model`, or as systems
to `mien evaluate`. Weights are set to zero where a part hands its work on; nothing else is touched. The second is
`mien animate` with nobody cut out of a background: the whole picture bends around the face.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mien.animation.layers import HeadLayer
from mien.motion.keypoint_motion import Floats
from mien.typing import Picture

Weights = dict[str, Tensor]
FILE = "diffusion_pytorch_model.safetensors"


def main() -> None:
    """See the module."""
    if sys.argv[1:2] == ["without-layers"]:
        del sys.argv[1]
        without_layers()
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    control = silent("controlnet_down_blocks", "controlnet_mid_block")
    variants: dict[str, tuple[list[str], Callable[[Weights], Weights]]] = {
        "without-C": (["motion_control"], control),
        "without-C_l": (["local_control"], control),
        "without-both": (["motion_control", "local_control"], control),
        "without-M": (["temporal"], silent("proj_out")),
        "layers-alone": (["window_head"], unpainted),
    }
    for name, (parts, change) in variants.items():
        missing = [part for part in parts if not (given.model / part / FILE).is_file()]
        if missing:
            print(f"{name}: {given.model} has no {' or '.join(missing)}")
            continue
        folder = given.out / name
        shutil.copytree(given.model, folder, dirs_exist_ok=True)
        for part in parts:
            save_file(change(load_file(given.model / part / FILE)), folder / part / FILE)
        print(folder)


def without_layers() -> None:
    """`mien animate` with the arguments of the command line, in which nobody is cut out of a background."""
    from mien.animation.cutting import PersonCutter
    from mien.cli.app import main as command

    cut = PersonCutter.cut

    def whole(cutter: PersonCutter, image: Picture, keypoints: Floats, *_others: object, **_given: object) -> HeadLayer:
        return cut(cutter, image, keypoints, layered=False)

    PersonCutter.cut = whole  # type: ignore[method-assign]
    sys.argv[1:1] = ["animate"]
    command()


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
