"""Pose encoder (DeX-Portrait, Section 3.1): a whole picture with eyes and mouth blanked to P = [sR | t].

The backbone is ConvNeXt V2 (Woo et al. 2023). What it is shown is made by `mien.motion.inputs.masked_frame`:
the full frame, never a crop, which would take translation and scale away.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from mien.models.dex_portrait.pose import CODE, Pose


class _ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of [b, c, h, w]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class _Block(nn.Module):
    """Depthwise 7x7, then per pixel: norm, widen by 4, GELU, global response normalisation, narrow."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.widen, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.response_scale = nn.Parameter(torch.zeros(4 * dim))
        self.response_shift = nn.Parameter(torch.zeros(4 * dim))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.gelu(self.widen(self.norm(self.depthwise(x).movedim(1, -1))))  # [b, h, w, 4c]
        strength = y.float().square().sum((1, 2), keepdim=True).sqrt()
        response = strength / (strength.mean(-1, keepdim=True) + 1e-6)
        y = self.response_scale * (y * response.to(y.dtype)) + self.response_shift + y
        return x + self.narrow(y).movedim(-1, 1)


class PoseEncoder(ModelMixin, ConfigMixin):
    """[b, 3, size, size] in [-1, 1] to pose codes [b, 6] (see `pose`)."""

    @register_to_config
    def __init__(
        self,
        size: int = 256,
        depths: tuple[int, ...] = (3, 3, 9, 3),
        dims: tuple[int, ...] = (96, 192, 384, 768),
        coordinates: bool = False,
    ) -> None:
        super().__init__()
        inputs = 5 if coordinates else 3
        self.stem = nn.Sequential(nn.Conv2d(inputs, dims[0], 4, 4), _ChannelNorm(dims[0], eps=1e-6))
        self.stages = nn.ModuleList()
        for level, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
            before = dims[level - 1]
            down = [_ChannelNorm(before, eps=1e-6), nn.Conv2d(before, dim, 2, 2)] if level else []
            self.stages.append(nn.Sequential(*down, *(_Block(dim) for _ in range(depth))))
        self.norm = nn.LayerNorm(dims[-1], eps=1e-6)
        self.head = nn.Linear(dims[-1], CODE)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # the first pose is the identity, so that the warp begins as nothing at all
        nn.init.zeros_(self.head.weight)

    def forward(self, pictures: Tensor) -> Tensor:
        """The head's pose.

        Args:
            pictures: [b, 3, size, size] in [-1, 1], as `mien.motion.inputs.masked_frame` gives them.

        Returns:
            Pose codes [b, 6], float32.
        """
        x = pictures
        if self.config.coordinates:
            x = torch.cat([x, _coordinates(x)], dim=1)
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        code: Tensor = self.head(self.norm(x.mean((2, 3)))).float()
        return code

    def pose(self, pictures: Tensor) -> Pose:
        """The head's pose as `Pose`.

        Args:
            pictures: as in `forward`.

        Returns:
            As many poses.
        """
        return Pose.from_code(self(pictures))


def _coordinates(pictures: Tensor) -> Tensor:
    """x and y of every pixel in [-1, 1], as [b, 2, h, w]."""
    height, width = pictures.shape[-2:]
    y = (torch.arange(height, device=pictures.device) * 2 + 1) / height - 1
    x = (torch.arange(width, device=pictures.device) * 2 + 1) / width - 1
    both = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    return both.to(pictures.dtype).expand(len(pictures), -1, -1, -1)
