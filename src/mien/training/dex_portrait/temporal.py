"""Stage `dex/temporal`: the temporal modules alone, on windows of consecutive frames (DeX-Portrait, stage C).

mien train dex/temporal --data AVATARS --start runs/dex-animator --out runs/dex-temporal --size nano
"""

from __future__ import annotations

from dataclasses import dataclass

from mien.models.dex_portrait import DeXPortraitConfig
from mien.training.data.samples import SampleSource
from mien.training.dex_portrait.animator import AnimatorConfig, DexAnimator, Dropout
from mien.training.engine.config import option
from mien.training.engine.stage import OptimizerStep


@dataclass(frozen=True)
class TemporalConfig(AnimatorConfig):
    """Of the temporal modules."""

    frames: int | None = option(None, "Denoised together; usually as many as there are positions, 24.", above=0)


class DexTemporal(DexAnimator):
    """As `DexAnimator`, but 24 frames of one clip are denoised together, and only what looks along time learns."""

    name = "dex/temporal"
    clips, temporal = True, True

    def __init__(
        self,
        options: TemporalConfig,
        data: SampleSource | None = None,
        config: DeXPortraitConfig | None = None,
        dropout: Dropout | None = None,
    ) -> None:
        """See `DexAnimator`."""
        super().__init__(options, data, config, dropout)
        positions = self.config.backbone.temporal_positions
        self.drivers = min(options.frames or positions, positions)
        self.steps, self.batch_size = (4_000, 1) if options.size == "nano" else (80_000, 8)

    def _optimizer_step(self, rate: float) -> OptimizerStep:
        return OptimizerStep("temporal", ("temporal",), rate, self._loss)
