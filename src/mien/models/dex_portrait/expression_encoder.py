"""Expression encoder (DeX-Portrait, Section 3.1): a face crop to a latent of 512 numbers.

The Face Alignment Network (Bulat and Tzimiropoulos 2017) with one hourglass, in the form that PD-FGC and X-NeMo use:
its last 68 maps are read by a linear layer; X-NeMo adds three spatial self-attentions that begin as nothing.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

_HEAD_WIDTH = 128


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(next(g for g in (8, 4, 2, 1) if channels % g == 0), channels)
    raise ValueError(f'norm must be "batch" or "group", not {kind!r}')


class _ConvBlock(nn.Module):
    """FAN's block: three 3x3 convolutions of 1/2, 1/4 and 1/4 of the channels, side by side, added to the input."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        half, quarter = outputs // 2, outputs // 4
        widths = ((inputs, half), (half, quarter), (quarter, outputs - half - quarter))
        self.layers = nn.ModuleList(
            nn.Sequential(_norm(norm, a), nn.ReLU(), nn.Conv2d(a, b, 3, padding=1, bias=False)) for a, b in widths
        )
        self.skip: nn.Module = nn.Identity()
        if inputs != outputs:
            self.skip = nn.Sequential(_norm(norm, inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        parts, y = [], x
        for layer in self.layers:
            y = layer(y)
            parts.append(y)
        result: Tensor = torch.cat(parts, 1) + self.skip(x)
        return result


class _Hourglass(nn.Module):
    """Halve, work, double, `depth` times nested; dropout on the skip branches."""

    def __init__(self, channels: int, depth: int, norm: str) -> None:
        super().__init__()
        self.beside = _ConvBlock(channels, channels, norm)
        self.before, self.after = _ConvBlock(channels, channels, norm), _ConvBlock(channels, channels, norm)
        deeper = depth > 1
        self.inner = _Hourglass(channels, depth - 1, norm) if deeper else _ConvBlock(channels, channels, norm)

    def forward(self, x: Tensor) -> Tensor:
        beside = functional.dropout(self.beside(x), 0.5, self.training)
        y = self.after(self.inner(self.before(functional.avg_pool2d(x, 2, ceil_mode=True))))
        return beside + functional.interpolate(y, beside.shape[-2:], mode="nearest")


class _PatchAttention(nn.Module):
    """Self-attention over square patches, added to the input; begins as nothing (X-NeMo)."""

    def __init__(self, channels: int, patch: int, heads: int) -> None:
        super().__init__()
        width = heads * _HEAD_WIDTH
        self.heads, self.patch = heads, patch
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * width, patch, patch)
        self.out = nn.Conv2d(width, channels * patch**2, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.norm(x))
        height, width = parts.shape[-2:]
        # [b, 3, heads, h w, c]
        q, k, v = parts.flatten(2).unflatten(1, (3, self.heads, -1)).transpose(3, 4).unbind(1)
        y = functional.scaled_dot_product_attention(q, k, v)
        y = y.transpose(2, 3).flatten(1, 2).unflatten(2, (height, width))
        return x + functional.pixel_shuffle(self.out(y), self.patch)


class ExpressionEncoder(ModelMixin, ConfigMixin):
    """[b, 3, size, size] in [-1, 1], cut out by `mien.motion.inputs.face_crop`, to codes [b, code]."""

    @register_to_config
    def __init__(
        self,
        size: int = 224,
        channels: tuple[int, int, int] = (64, 128, 256),
        hourglass_depth: int = 4,
        maps: int = 68,
        code: int = 512,
        attention_heads: int = 8,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        a, b, c = channels

        def attend(width: int, patch: int) -> nn.Module:
            return _PatchAttention(width, patch, attention_heads) if attention_heads else nn.Identity()

        self.features = nn.Sequential(
            nn.Conv2d(3, a, 7, 2, 3),
            _norm(norm, a),
            nn.ReLU(),
            _ConvBlock(a, b, norm),  # [b, 128, 112, 112] at full size
            attend(b, 4),
            nn.AvgPool2d(2),
            _ConvBlock(b, b, norm),
            attend(b, 2),
            _ConvBlock(b, c, norm),
            attend(c, 2),
            _Hourglass(c, hourglass_depth, norm),
            _ConvBlock(c, c, norm),
            nn.Conv2d(c, c, 1),
            _norm(norm, c),
            nn.ReLU(),
            nn.Conv2d(c, maps, 1),  # [b, 68, 56, 56]
            _norm(norm, maps),
            nn.ReLU(),
            nn.Conv2d(maps, 1, 3, 2, 1),
        )
        cells = (-(-size // 8)) ** 2
        self.head = nn.Linear(cells, code)

    def forward(self, crops: Tensor) -> Tensor:
        """The latent expression.

        Args:
            crops: [b, 3, size, size] in [-1, 1].

        Returns:
            Codes [b, code], float32.
        """
        code: Tensor = self.head(self.features(crops).flatten(1))
        return code.float()
