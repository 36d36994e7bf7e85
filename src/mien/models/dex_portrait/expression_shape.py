"""From the latent expression to where keypoints go: what lets the nano size start from a reenactor's picture.

A linear reading of the code, so that a code has the part that blendshapes have in `mien.motion.keypoint_motion`:

    motion = KeypointMotion(shape.basis(), FaceMotion(landmarks, pose.head_pose(), blendshapes=code))
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from mien.models.reenactor.config import KEYPOINTS
from mien.motion.keypoint_motion import FaceBasis


class ExpressionShape(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Displacements of 70 keypoints in the head's frame, half face heights, by expression codes.

    `mean` [70, 3]: the keypoints of a neutral mean head, to which the code 0 adds nothing.
    """

    mean: Tensor

    @register_to_config
    def __init__(self, code: int = 128) -> None:
        super().__init__()
        self.read = nn.Linear(code, KEYPOINTS * 3, bias=False)
        self.register_buffer("mean", torch.zeros(KEYPOINTS, 3))

    def forward(self, code: Tensor) -> Tensor:
        """How far the keypoints move.

        Args:
            code: expression codes [b, code].

        Returns:
            Displacements [b, 70, 3], half face heights in the head's frame.
        """
        moved: Tensor = self.read(code)
        return moved.unflatten(1, (KEYPOINTS, 3))

    def basis(self) -> FaceBasis:
        """The same as `KeypointMotion` takes it, codes in the place of blendshapes: shapes [code, 70, 3]."""
        shapes = self.read.weight.T.unflatten(1, (KEYPOINTS, 3))
        return FaceBasis(*(part.detach().double().cpu().numpy() for part in (self.mean, shapes)))
