"""The encoders of DeX-Portrait nano, in the places of the paper's ConvNeXt V2 and FAN (Section 3.1).

Both are the landmark network that comes with the face reader (MediaPipe's face mesh, Apache-2.0) up to its last
features, taught on: it has seen more faces than a small training can show. Its points are not used. Both are shown an
upright crop (`mien.motion.inputs.TurnedCrop`), the pose encoder with eyes, brows and mouth blanked, and tells the
head's pose in it; where the crop lies in the picture is known.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from mien.models.dex_portrait.pose import CODE
from mien.models.face_networks import LandmarkNetwork
from mien.motion.keypoint_motion import KEYPOINTS

_GENERAL = 11  # layers of the body down to a quarter of the picture's side: edges and spots, never taught on
_MIDDLE = 31  # layers of the body down to 4 x 4 cells
_FEATURES = 128 * (4 * 4 + 2 * 2)


class FaceFeatures(nn.Module):
    """A face as the landmark network sees it in the end: pictures [b, 3, 256, 256] in [-1, 1] to [b, 2560]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = LandmarkNetwork().body
        self.norm = nn.LayerNorm(_FEATURES)

    def forward(self, crops: Tensor) -> Tensor:
        """What the network sees in faces.

        Args:
            crops: upright ones, [b, 3, 256, 256] in [-1, 1].

        Returns:
            Features [b, 2560], normalised: of 4 x 4 and of 2 x 2 cells.
        """
        x: Tensor = (crops + 1) / 2
        with torch.no_grad():
            x = self.body[:_GENERAL](x)
        middle = self.body[_GENERAL:_MIDDLE](x)
        last = self.body[_MIDDLE:](middle)
        features: Tensor = self.norm(torch.cat([middle.flatten(1), last.flatten(1)], 1))
        return features

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Begin as a landmark network.

        Args:
            weights: a `LandmarkNetwork`'s, by name.
        """
        own = {name.removeprefix("body."): value for name, value in weights.items() if name.startswith("body.")}
        self.body.load_state_dict(own)


class FaceExpressionEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Upright crops [b, 3, 256, 256] in [-1, 1] to expression codes [b, code], and codes to how they move keypoints."""

    @register_to_config
    def __init__(self, size: int = LandmarkNetwork.SIDE, code: int = 256) -> None:
        super().__init__()
        self.features, self.head = FaceFeatures(), nn.Linear(_FEATURES, code)
        self.keypoints = nn.Linear(code, KEYPOINTS * 3)
        nn.init.zeros_(self.keypoints.weight)
        nn.init.zeros_(self.keypoints.bias)

    def moved(self, codes: Tensor) -> Tensor:
        """How far an expression moves a mean head's keypoints (68 landmarks and two pupils), read linearly.

        Args:
            codes: [b, code].

        Returns:
            Displacements from the neutral face [b, 70, 3], half face heights in the head's frame.
        """
        moved: Tensor = self.keypoints(codes.to(self.keypoints.weight.dtype))
        return moved.unflatten(1, (KEYPOINTS, 3))

    def forward(self, crops: Tensor) -> Tensor:
        """The latent expression.

        Args:
            crops: [b, 3, 256, 256] in [-1, 1], as `mien.motion.inputs.TurnedCrop` cuts them.

        Returns:
            Codes [b, code], float32.
        """
        code: Tensor = self.head(self.features(crops)).float()
        return code


class FacePoseEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Upright crops [b, 3, 256, 256] in [-1, 1], eyes, brows and mouth blanked, to pose codes [b, 6] in them."""

    @register_to_config
    def __init__(self, size: int = LandmarkNetwork.SIDE) -> None:
        super().__init__()
        self.features, self.head = FaceFeatures(), nn.Linear(_FEATURES, CODE)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, crops: Tensor) -> Tensor:
        """The head's pose in a crop; `Pose.placed` makes it that in the picture.

        Args:
            crops: [b, 3, 256, 256] in [-1, 1].

        Returns:
            Pose codes [b, 6], float32.
        """
        code: Tensor = self.head(self.features(crops)).float()
        return code
