"""Stage `dex/temporal`: the temporal modules alone, on windows of consecutive frames (DeX-Portrait, stage C).

mien train dex/temporal --data AVATARS --start runs/dex-animator --out runs/dex-temporal --size nano
"""

from __future__ import annotations

from collections.abc import Sequence

from mien.models.dex_portrait import DeXPortraitConfig
from mien.training.dex_portrait.animator import DexAnimator, Dropout
from mien.training.dex_portrait.data import SceneData
from mien.training.engine.config import TrainOptions
from mien.training.engine.stage import Turn


class DexTemporal(DexAnimator):
    """As `DexAnimator`, but 24 frames of one clip are denoised together, and only what looks along time learns."""

    name = "dex/temporal"
    clips, temporal = True, True

    def __init__(
        self,
        options: TrainOptions,
        data: Sequence[tuple[SceneData, float]] | None = None,
        config: DeXPortraitConfig | None = None,
        dropout: Dropout | None = None,
    ) -> None:
        """See `DexAnimator`; `frames` of the options: how many are denoised together, 24 by default."""
        super().__init__(options, data, config, dropout)
        positions = self.config.backbone.temporal_positions
        self.drivers = min(options.frames or positions, positions)
        self.steps, self.rows = (4_000, 1) if options.size == "nano" else (80_000, 8)

    def _turn(self, rate: float) -> Turn:
        return Turn("temporal", ("temporal",), rate, self._loss)
