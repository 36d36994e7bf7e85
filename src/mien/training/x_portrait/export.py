"""From a training run to a folder that `XPortraitPipeline.from_pretrained` takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mien.models.x_portrait import XPortraitConfig
from mien.motion.motion_limits import NANO_MOTION_LIMITS
from mien.pipelines.x_portrait import PARTS, XPortraitPipeline
from mien.training.x_portrait.losses import scheduler_for
from mien.training.x_portrait.model import PortraitModel

# trained this little, more steps add blotches; frames do not see each other, so that windows need not overlap
_NANO_DEFAULTS = {
    "num_inference_steps": 1, "guidance_scale": 1.0, "window": 8, "overlap": 0, "fast": {"num_inference_steps": 1},
}  # fmt: skip


def to_pipeline(model: PortraitModel, config: XPortraitConfig, present: Sequence[str]) -> XPortraitPipeline:
    """The networks of a run as a pipeline in float16.

    Args:
        model: with the averaged weights; changed in place.
        config: of its sizes.
        present: optional parts that the stage has; the others are left out.

    Returns:
        The pipeline.
    """
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
        image_size=config.image_size,
        crop_scale=2.05 if small else 2.5,  # the training pictures' mean
        motion_limits=NANO_MOTION_LIMITS if small else None,
        defaults=_NANO_DEFAULTS if small else None,
    )
    return pipe.to(torch.float16)
