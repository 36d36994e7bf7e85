"""From a run of the face-window stages to a folder that `XPortraitPipeline.from_pretrained` takes."""

from __future__ import annotations

import torch

from mien.models.keypoint_basis import KeypointBasis
from mien.models.x_portrait import XPortraitConfig
from mien.motion.motion_limits import NANO_MOTION_LIMITS
from mien.pipelines import loading
from mien.pipelines.x_portrait import XPortraitPipeline
from mien.training.x_portrait.losses import scheduler_for
from mien.training.x_portrait.window_model import PARTS, FaceWindowModel
from mien.weights import bundled

_ONE_STEP = {"num_inference_steps": 1, "guidance_scale": 1.0, "fast": {"num_inference_steps": 1}}


def to_pipeline(model: FaceWindowModel, config: XPortraitConfig, without: tuple[str, ...] = ()) -> XPortraitPipeline:
    """The networks of a run as a pipeline in float16.

    Args:
        model: with the averaged weights; changed in place.
        config: of its sizes.
        without: parts that are left out.

    Returns:
        The pipeline.
    """
    networks = model.networks(without)
    parts = {part: getattr(networks, part) for part in PARTS}
    for network in parts.values():
        if network is not None:
            network.eval().requires_grad_(False)
    # without temporal modules frames do not see each other, and windows need not overlap
    windows = {"window": 8, "overlap": 0 if networks.temporal is None else 2}
    # where the portrait's keypoints go is known already: numbers that come with the package
    basis = loading.load_part(KeypointBasis, bundled("nano") / "keypoint_basis")
    pipe = XPortraitPipeline(
        **parts,
        keypoint_basis=basis,
        scheduler=scheduler_for(config.prediction_type),
        image_size=config.image_size,
        crop_scale=2.05,
        motion_limits=NANO_MOTION_LIMITS,
        defaults={**_ONE_STEP, **windows},
    )
    return pipe.to(torch.float16)
