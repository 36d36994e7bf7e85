"""Nano's grammar in small, for tests of whole jobs: a pipeline with a reenactor, whose U-Net changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mien.diffusion import GatedDDIMScheduler
from mien.faces import FaceReading
from mien.models.reenactor import Reenactor, ReenactorConfig
from mien.pipelines.x_portrait import PARTS, XPortraitPipeline
from samples import DrawnFaceReader
from tiny import TINY, tiny_networks

_SMALL = ReenactorConfig(64, (4, 4, 8), (8, 8, 8), (4, 4, 8, 8), 1, 4, 4)


def reenacting_pipeline() -> XPortraitPipeline:
    """Pictures of 64 pixels; random weights, and a basis in which every score moves every point a little."""
    networks = tiny_networks(replace(TINY, source_in_sample=True, prediction_type="sample"))
    for parameter in networks.unet.conv_out.parameters():
        parameter.zero_()
    torch.manual_seed(0)
    reenactor = Reenactor.of(_SMALL).eval().requires_grad_(False)
    reenactor.mean.normal_(0, 0.3)
    reenactor.shapes.normal_(0, 0.1)
    pipe = XPortraitPipeline(
        **{part: getattr(networks, part) for part in PARTS},
        scheduler=GatedDDIMScheduler(1000, prediction_type="sample", timestep_spacing="trailing", clip_sample=False),
        reenactor=reenactor,
        image_size=64,
        defaults={"num_inference_steps": 1, "guidance_scale": 1.0, "window": 4, "overlap": 1},
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


class PairReader(DrawnFaceReader):
    """`DrawnFaceReader` that finds a face in each half of a picture twice as wide as high."""

    name = "pair"

    def read_all(self, image: np.ndarray) -> list[FaceReading]:
        width = image.shape[1]
        if width < 2 * image.shape[0]:
            return super().read_all(image)
        found = []
        for left in (0, width // 2):
            face = self.read(np.ascontiguousarray(image[:, left : left + width // 2]))
            if face is not None:
                box, points = face.box + [left, 0, left, 0], face.landmarks + np.float32([left, 0])
                found.append(FaceReading(box, points, face.pose, face.expression, 1.0))
        return sorted(found, key=lambda face: -float(np.ptp(face.landmarks[:, 0])))
