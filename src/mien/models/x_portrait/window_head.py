"""The last layers of a model that works on face windows: the moved portrait, bent, and what is painted over it.

A picture that is painted whole loses what small networks cannot paint: pores, lashes, the weave of a veil. Most of what
a face does is pixels that go elsewhere. So the U-Net's picture is laid only where it is needed over the moved portrait,
each pixel of which may be taken from somewhere near (as the first order motion model blends a warped source with an
inpainted one: Siarohin et al. 2019, Section 3.2); at the portrait's own size the same flow bends the portrait's own
pixels (`mien.animation.layers`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

_REACH = 0.1  # half sides of the window that a flow of 1 is
_SHARPNESS, _SHARE = 3.0, -1.0  # of the share's sigmoid, and where it starts: a quarter is painted
_ELLIPSE, _DOWN, _EDGE = (0.86, 0.96), 0.02, 0.16  # half sides: where a window's face is, and the ellipse's soft rim


@dataclass(frozen=True)
class WindowChange:
    """What becomes of moved portraits in their windows.

    Attributes:
        flow: [n, 2, s, s], from where in the moved portrait a pixel is taken, (x, y) offsets in half sides.
        share: [n, 1, s, s] in [0, 1], how much of a pixel is painted; 0 at the window's border, as is the flow.
        paint: [n, 3, s, s], about [-1, 1].
    """

    flow: Tensor
    share: Tensor
    paint: Tensor

    def picture(self, moved: Tensor) -> Tensor:
        """The finished windows [n, 3, s, s] from the moved portraits [n, 3, s, s]."""
        return bend(moved, self.flow) * (1 - self.share) + self.paint * self.share


def bend(pictures: Tensor, flow: Tensor) -> Tensor:
    """Pictures [n, 3, s, s] with every pixel taken from `flow` [n, 2, s, s] (x, y; half sides) away."""
    steps = (torch.arange(pictures.shape[-1], device=flow.device) + 0.5) * (2 / pictures.shape[-1]) - 1
    places = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)[None] + flow.float().permute(0, 2, 3, 1)
    return functional.grid_sample(pictures.float(), places, padding_mode="border", align_corners=False)


def face_ellipse(side: int, device: torch.device | None = None) -> Tensor:
    """Where the face is in every window: [1, 1, side, side], 1 inside, softly 0 outside."""
    steps = (torch.arange(side, device=device) + 0.5) * (2 / side) - 1
    away = torch.hypot(steps[None] / _ELLIPSE[0], (steps[:, None] - _DOWN) / _ELLIPSE[1])
    inside = ((1 - away) / _EDGE).clamp(0, 1)
    return (inside * inside * (3 - 2 * inside))[None, None]


class WindowHead(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """From the U-Net's last features and its picture to a `WindowChange`.

    Args:
        features: channels of the U-Net's last features.
        patch: pixels a side of one latent (`PatchAutoencoder`).
        width: channels of the layers at the window's full size.
        driver: whether it is shown the rectified driving frame (X-Portrait); a model that knows the expression as a
            code alone (DeX-Portrait) is not.
    """

    @register_to_config
    def __init__(self, features: int = 32, patch: int = 4, width: int = 16, driver: bool = True) -> None:
        super().__init__()
        self.patch, self.driver = patch, driver
        kept = width // 2
        self.to_pixels = nn.Conv2d(features, kept * patch * patch, 1)
        self.flow = nn.Conv2d(features, 2, 3, 1, 1)
        self.blend = nn.Sequential(
            nn.Conv2d((9 if driver else 6) + kept, width, 3, 1, 1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, 1, 1),
            nn.SiLU(),
            nn.Conv2d(width, 4, 3, 1, 1),
        )
        for parameter in (*self.flow.parameters(), *self.blend[-1].parameters()):
            nn.init.zeros_(parameter)  # at first the moved portrait is hardly changed

    def forward(self, features: Tensor, painted: Tensor, moved: Tensor, driver: Tensor | None = None) -> WindowChange:
        """What to do with moved portraits.

        Args:
            features: [n, c, s / patch, s / patch], the U-Net's before its last convolution.
            painted: [n, 3, s, s], the U-Net's picture.
            moved: [n, 3, s, s] in [-1, 1].
            driver: [n, 3, s, s], the rectified driving frame; None, or where the head is not shown any: there is none.
        """
        face = face_ellipse(moved.shape[-1], moved.device)
        flow = functional.interpolate(
            self.flow(features).float() * _REACH, scale_factor=self.patch, mode="bilinear", align_corners=False
        )
        flow = flow * face
        bent = bend(moved, flow).to(features.dtype)
        shown = [painted.to(bent), bent]
        if self.driver:
            shown.append(torch.zeros_like(bent) if driver is None else driver.to(bent))
        shown.append(functional.pixel_shuffle(self.to_pixels(features), self.patch))
        made = self.blend(torch.cat(shown, 1)).float()
        share = torch.sigmoid(made[:, :1] * _SHARPNESS + _SHARE) * face
        return WindowChange(flow, share, painted.float() + made[:, 1:])
