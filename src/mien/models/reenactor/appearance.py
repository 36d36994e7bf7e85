"""What the source looks like, at three resolutions."""

from __future__ import annotations

from torch import Tensor, nn

from mien.models.reenactor.config import ReenactorConfig
from mien.models.reenactor.layers import Conv, Residual


class Appearance(nn.Module):
    """Features of the source, computed once for a portrait."""

    def __init__(self, config: ReenactorConfig) -> None:
        super().__init__()
        fine, half, quarter = config.appearance_channels
        self.fine = Conv(3, fine)
        self.middle = Conv(fine, half, 2)
        self.quarter = nn.Sequential(Conv(half, quarter, 2), Residual(quarter))

    def forward(self, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The source's features.

        Args:
            source: [b, 3, h, w] in [-1, 1].

        Returns:
            [b, c, h, w], [b, c', h / 2, w / 2] and [b, c'', h / 4, w / 4].
        """
        fine = self.fine(source)
        half = self.middle(fine)
        return fine, half, self.quarter(half)
