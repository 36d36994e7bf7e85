"""What a frozen face reader sees in a picture that was made, against what it sees in the one that was wanted.

Pixels say little about where an iris is: it is 40 of 36,864. The reader's points of lids, irises, lips and brows, and
the blendshapes that it takes from them, are what viewers look at. Its networks are those of
`mien.models.face_networks`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mien.faces.networks import load_weights
from mien.models.face_networks import BLENDSHAPE_POINTS, BlendshapeNetwork, LandmarkNetwork
from mien.weights import bundled

# fmt: off
_LIDS = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7,
         263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
_BROWS = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 336, 296, 334, 293, 300, 276, 283, 282, 295, 285)
# fmt: on
_IRISES = tuple(range(468, 478))
_WEIGHTS = ((_LIDS, 4.0), (_IRISES, 6.0), (_LIPS, 3.0), (_BROWS, 3.0))
_ELSEWHERE = 0.3
_MARGIN = 14 / 192  # of a window's side: the landmark network knows faces with more around them


class FaceReadingLoss:
    """See the module. Its networks are no part of a model: they never learn and are in no checkpoint."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        folder = bundled("face-networks")
        self._landmarks = load_weights(LandmarkNetwork(), folder / "landmarks.safetensors").to(device)
        self._blendshapes = load_weights(BlendshapeNetwork(), folder / "blendshapes.safetensors").to(device)
        weights = torch.full((478,), _ELSEWHERE)
        for points, weight in _WEIGHTS:
            weights[list(points)] = weight
        self._weights = (weights / weights.mean()).to(device)[None, :, None]

    def read(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the frozen face reader sees.

        Args:
            windows: [n, 3, s, s] in [-1, 1].

        Returns:
            Points [n, 478, 2] in sides of the crop, blendshapes [n, 52] and presence [n] in [0, 1].
        """
        margin = round(_MARGIN * windows.shape[-1])
        wider = functional.pad(windows, (margin,) * 4, mode="replicate")
        side = LandmarkNetwork.SIDE
        crops = functional.interpolate(wider, size=(side, side), mode="bilinear", align_corners=False)
        seen = self._landmarks((crops + 1) / 2)
        points = seen.points[..., :2].float() / side
        return points, self._blendshapes(points[:, list(BLENDSHAPE_POINTS)]).float(), seen.presence.float().sigmoid()

    def __call__(self, made: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """How differently a frozen face reader sees two pictures, where there is a face in the wanted ones.

        Args:
            made: windows [n, 3, s, s] in [-1, 1].
            wanted: the same.

        Returns:
            Mean differences of points (in sides of the crop, eyes and mouth weighted) and of blendshapes.
        """
        with torch.no_grad():
            points, scores, presence = self.read(wanted)
        seen = (presence > 0.5).float()
        own_points, own_scores, _ = self.read(made)
        away = ((own_points - points).abs() * self._weights * seen[:, None, None]).mean()
        return away, ((own_scores - scores).abs() * seen[:, None]).mean()
