"""How a face's keypoints move with its expression scores: a linear basis, as a model's part of its own."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from mien.motion.keypoint_motion import FaceBasis


class KeypointBasis(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """The basis of `mien.motion.keypoint_motion` as buffers, numbers only: nothing here is run."""

    mean: Tensor  # [70, 3]
    shapes: Tensor  # [52, 70, 3]

    @register_to_config
    def __init__(self, keypoints: int = 70, scores: int = 52) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(keypoints, 3))
        self.register_buffer("shapes", torch.zeros(scores, keypoints, 3))

    @classmethod
    def of(cls, basis: FaceBasis) -> KeypointBasis:
        """A basis as a part."""
        scores, keypoints, _ = basis.shapes.shape
        made = cls(keypoints, scores)
        for buffer, numbers in ((made.mean, basis.mean), (made.shapes, basis.shapes)):
            buffer.copy_(torch.as_tensor(numbers))
        return made.eval()

    def basis(self) -> FaceBasis:
        """How keypoints move with expression scores."""
        return FaceBasis(*(part.detach().double().cpu().numpy() for part in (self.mean, self.shapes)))
