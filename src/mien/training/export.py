"""From a training run to a folder that `XPortraitPipeline.from_pretrained` takes.

python -m mien.training.export runs/temporal OUT --steps 6 [--parts unet,motion_control,...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from mien.diffusion import GatedDDIMScheduler
from mien.models.x_portrait import NANO, build
from mien.pipelines.x_portrait import PARTS, XPortraitPipeline
from mien.training.x_portrait import STAGES, Trained


def load_run(run: Path, stage: str) -> XPortraitPipeline:
    """The averaged weights of a run as a pipeline; parts that the stage does not have are left out."""
    model = Trained(build(NANO))
    model.load_state_dict(torch.load(run / "ema.pt", weights_only=True))
    scale = torch.load(run / "last.pt", weights_only=True)["scaling_factor"]
    model.vae.register_to_config(scaling_factor=scale)
    networks = model.networks(STAGES[stage].present)
    for part in PARTS:
        network = getattr(networks, part)
        if network is not None:
            network.eval().requires_grad_(False)
    return XPortraitPipeline(
        **{part: getattr(networks, part) for part in PARTS},
        scheduler=GatedDDIMScheduler(
            1000,
            0.00085,
            0.012,
            "scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            prediction_type=NANO.prediction_type,
            timestep_spacing="trailing",
        ),
        image_size=NANO.image_size,
        crop_scale=2.05,  # the training pictures' mean
        reach=(0.1, 0.15),  # the training heads stay within it
        # trained this little, more steps add blotches
        defaults={
            "num_inference_steps": 1,
            "guidance_scale": 1.0,
            "window": 8,
            "overlap": 2,
            "fast": {"num_inference_steps": 1},
        },
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stage", choices=sorted(STAGES), default="temporal")
    args = parser.parse_args()
    load_run(args.run, args.stage).to(torch.float16).save_pretrained(args.out)


if __name__ == "__main__":
    main()
