"""52 blendshapes from points of a face: MediaPipe's blendshapes, version 2, an MLP-Mixer of 0.45 M parameters.

MLP-Mixer: Tolstikhin et al. 2021, "MLP-Mixer: An all-MLP Architecture for Vision", figure 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# The points it sees, of the landmark network's 478: contour, brows, eyes, lips, nose and irises.
# fmt: off
BLENDSHAPE_POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
    154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251,
    263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318,
    321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
)
# fmt: on
BLENDSHAPES = 52  # "_neutral", then the first 51 of `mien.faces.EXPRESSION_NAMES`, in its order
_POINT_SCALE = 0.5  # by which the network's training divided


class Mlp(nn.Module):
    """Two linear layers with a ReLU between them."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Linear(size, hidden), nn.Linear(hidden, size)

    def forward(self, x: Tensor) -> Tensor:
        """[..., size] to the same shape."""
        return self.narrow(self.widen(x).relu())


class MixerBlock(nn.Module):
    """Mixes [b, tokens, channels] over the tokens, then over the channels."""

    def __init__(self, tokens: int, channels: int) -> None:
        super().__init__()
        self.token_norm, self.token_mlp = nn.LayerNorm(channels, eps=1e-6, bias=False), Mlp(tokens, 384)
        self.channel_norm, self.channel_mlp = nn.LayerNorm(channels, eps=1e-6, bias=False), Mlp(channels, 256)

    def forward(self, x: Tensor) -> Tensor:
        """[b, tokens, channels] to the same shape."""
        x = x + self.token_mlp(self.token_norm(x).mT).mT
        return x + self.channel_mlp(self.channel_norm(x))


class BlendshapeNetwork(nn.Module):
    """Points of a face to blendshapes."""

    def __init__(self, tokens: int = 96, channels: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Linear(len(BLENDSHAPE_POINTS), tokens)
        self.channels = nn.Linear(2, channels)
        self.answer = nn.Parameter(torch.zeros(channels))  # one more token, off which they are read
        self.blocks = nn.Sequential(*(MixerBlock(tokens + 1, channels) for _ in range(depth)))
        self.scores = nn.Linear(channels, BLENDSHAPES)

    def forward(self, points: Tensor) -> Tensor:
        """How strongly each shape is there.

        Args:
            points: [b, 146, 2] (`BLENDSHAPE_POINTS`), in one unit, at any place and size.

        Returns:
            [b, 52] in [0, 1], "_neutral" first.
        """
        centred = points - points.mean(1, keepdim=True)
        unit = centred.norm(dim=2, keepdim=True).mean(1, keepdim=True)
        tokens = self.channels(self.tokens((centred / unit * _POINT_SCALE).mT).mT)
        mixed = self.blocks(torch.cat([self.answer.expand(len(tokens), 1, -1), tokens], 1))
        return self.scores(mixed[:, 0]).sigmoid()
