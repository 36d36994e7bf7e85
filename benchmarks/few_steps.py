"""How far few DDIM steps are from many, on the golden kit's small model of the published architecture.

    python benchmarks/few_steps.py [--steps 4 8 15] [--many 30] [--frames 2]

The same noise, portrait and driving frames are denoised with every number of steps. Prints the error of the last
latents, root mean square over that of the many-step ones, and of the decoded pictures in grey levels of 255. The kit's
weights are made by a rule, not trained, so this tells how the sampler behaves, not how a face looks.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from mien.diffusion import StreamingSampler, WindowPlan
from mien.interop.x_portrait import assemble, convert
from mien.pipelines.x_portrait import XPortraitPipeline
from mien.pipelines.x_portrait_denoiser import XPortraitDenoiser

ROOT = Path(__file__).resolve().parent.parent
GUIDANCE = 5.0


class Denoising:
    """The kit's clip, denoised as often as wanted from the same start."""

    def __init__(self, frames: int) -> None:
        sys.path.insert(0, str(ROOT / "tests"))
        from parity.kit_files import read_kit
        from parity.networks import build_clip, build_scheduler

        kit = read_kit(ROOT / "tests" / "parity" / "kit")
        parts, _ = convert(kit.state_dict(), kit.config, kit.tensor("context"), "the kit's")
        networks = assemble(parts, kit.config)
        self.pipe = XPortraitPipeline(
            **vars(networks), scheduler=build_scheduler(kit), image_size=kit.config.image_size
        )
        self.clip, self.frames = build_clip(kit, networks, self.pipe.scheduler), frames

    def latents(self, steps: int) -> Tensor:
        """The last latents [f, c, h, w]."""
        self.pipe.scheduler.set_timesteps(steps)
        plan = WindowPlan(self.frames, 0)
        denoiser = XPortraitDenoiser(self.pipe, plan, GUIDANCE, [self.clip.reference[:1]], self.frames)
        for frame in range(self.frames):
            denoiser.control_features[frame] = self.clip.hints.select(slice(frame, frame + 1))
        start = iter(self.clip.start[: self.frames])
        return torch.stack(list(StreamingSampler(start, self.pipe.scheduler, plan, denoiser)))


@torch.no_grad()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8, 15])
    parser.add_argument("--many", type=int, default=30)
    parser.add_argument("--frames", type=int, default=2)
    arguments = parser.parse_args()
    denoising = Denoising(arguments.frames)
    many = denoising.latents(arguments.many)
    shown = denoising.pipe._decode(many)
    print(f"| steps | error of latents, of {arguments.many} steps' | error of pictures, grey levels |\n|---|---|---|")
    for steps in arguments.steps:
        few = denoising.latents(steps)
        share = ((few - many).square().mean() / many.square().mean()).sqrt()
        grey = 127.5 * (denoising.pipe._decode(few) - shown).square().mean().sqrt()
        print(f"| {steps} | {share:.3f} | {grey:.1f} |", flush=True)


if __name__ == "__main__":
    main()
