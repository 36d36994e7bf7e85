"""What the full-size model (512 px) needs of a GPU by --offload, --quantize and --window, counted without computing.

    python benchmarks/full_size.py [--steps 30] [--window 16 24]

The networks stand on the meta device in bfloat16; nothing is loaded. Prints the table of docs/animate.md: bytes on the
device for a clip without end, the main memory for frames under way, and the smallest usual card that holds them beside
half a GiB for the driver. Not measured on a card.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

from mien.diffusion import XPortraitDDIMScheduler
from mien.models.x_portrait import SD15, build
from mien.pipelines.cost import resident_bytes
from mien.pipelines.x_portrait import PARTS, XPortraitPipeline

CARDS = (4, 6, 8, 10, 12, 16, 24)  # GiB
DRIVER = 0.5
CHOICES = (
    ("none", "none"),
    ("none", "int8"),
    ("none", "fp8"),
    ("model", "none"),
    ("model", "fp8"),
    ("group", "none"),
)
ENDLESS = 100_000


def empty_pipeline() -> XPortraitPipeline:
    """The published size on the meta device."""
    with torch.device("meta"):
        networks = build(SD15)
    made = {part: getattr(networks, part) for part in PARTS}
    parts = {name: part and nn.Module.to(part, torch.bfloat16) for name, part in made.items()}
    scheduler = XPortraitDDIMScheduler(1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, set_alpha_to_one=False)
    return XPortraitPipeline(**parts, scheduler=scheduler, image_size=SD15.image_size)


def rows(windows: list[int], steps: int) -> list[str]:
    """The table."""
    pipe = empty_pipeline()
    lines = [
        "| `--offload` | `--quantize` | `--window` | on the card | of it weights | main memory for frames | card |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for window in windows:
        counted = pipe.cost(ENDLESS, num_inference_steps=steps, window=window, on_cpu=False)
        for offload, quantize in CHOICES:
            weights = resident_bytes(pipe, offload, quantize)
            whole = (counted.bytes - counted.parts["weights"] + weights) / 2**30
            card = next((f"{size} GB" for size in CARDS if whole + DRIVER <= size), "larger")
            lines.append(
                f"| {offload} | {quantize} | {window} | {whole:.1f} GiB | {weights / 2**30:.1f} GiB"
                f" | {counted.waiting / 2**30:.1f} GiB | {card} |"
            )
    return lines


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--window", type=int, nargs="+", default=[16, 24])
    arguments = parser.parse_args()
    print("\n".join(rows(arguments.window, arguments.steps)))


if __name__ == "__main__":
    main()
