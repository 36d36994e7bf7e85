"""From a training run to a folder that `XPortraitPipeline.from_pretrained` takes.

    python -m mien.training.x_portrait.export runs/temporal OUT [--stage temporal] [--without-local]

`mien train` writes the same folder to RUN/export when a stage is done. Runs of the first scripts are taken too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from mien.models.x_portrait import NANO, XPortraitConfig, build
from mien.motion.motion_limits import NANO_REACH
from mien.pipelines.x_portrait import PARTS, XPortraitPipeline
from mien.training.engine.checkpoints import fill
from mien.training.engine.config import TrainOptions
from mien.training.x_portrait.losses import scheduler_for
from mien.training.x_portrait.model import PortraitModel, read_start
from mien.training.x_portrait.recipes import plan_for

# trained this little, more steps add blotches; frames do not see each other, so that windows need not overlap
_NANO_DEFAULTS = {
    "num_inference_steps": 1, "guidance_scale": 1.0, "window": 8, "overlap": 0, "fast": {"num_inference_steps": 1},
}  # fmt: skip


def to_pipeline(model: PortraitModel, config: XPortraitConfig, present: Sequence[str]) -> XPortraitPipeline:
    """The networks of a run as a pipeline in float16; parts that the stage does not have are left out."""
    model.vae.register_to_config(scaling_factor=round(float(model.latent_scale), 6))
    networks = model.networks(present)
    for part in PARTS:
        network = getattr(networks, part)
        if network is not None:
            network.eval().requires_grad_(False)
    small = config.prediction_type == "sample"
    pipe = XPortraitPipeline(
        **{part: getattr(networks, part) for part in PARTS},
        scheduler=scheduler_for(config.prediction_type),
        reenactor=model.reenactor,
        image_size=config.image_size,
        crop_scale=2.05 if small else 2.5,  # the training pictures' mean
        reach=NANO_REACH if small else None,
        defaults=_NANO_DEFAULTS if small else None,
    )
    return pipe.to(torch.float16)


def load_run(run: Path, kind: str, local: bool = True) -> XPortraitPipeline:
    """The averaged weights of a nano run as a pipeline. kind: the stage, without "x-portrait/"."""
    model = PortraitModel(build(NANO))
    fill(model, read_start(run, model))
    plan = plan_for(kind, TrainOptions(f"x-portrait/{kind}", (), str(run), local=local))
    return to_pipeline(model, NANO, plan.present)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stage", choices=("motion", "local", "temporal", "few-step"), default="temporal")
    parser.add_argument("--without-local", action="store_true")
    args = parser.parse_args()
    load_run(args.run, args.stage, not args.without_local).save_pretrained(args.out)


if __name__ == "__main__":
    main()
