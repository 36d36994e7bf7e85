"""Stage `dex/face-window-encoder`: the encoders of DeX-Portrait nano, before the window model or on their own.

    mien train dex/face-window-encoder --data GROUPS --data PAIRED_GROUPS --out runs/dex-encoders

As `dex/motion --preset supervised`, at the face's own resolution, and with two more things for a code to tell, both
dropped at inference: all commanded expression scores (winks, gaze, single brows, the tongue), and what a frozen face
reader sees. The second view of an expression is often another person's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mien.models.dex_portrait import FACE_WINDOW, DeXPortraitConfig
from mien.training.dex_portrait.encoder_data import EncoderAugmentation
from mien.training.dex_portrait.encoders import PRESET, DexEncoders, EncoderModel
from mien.training.dex_portrait.motion_trainer import MotionConfig
from mien.training.engine.config import StageConfig, option
from mien.training.engine.stage import Batch, Losses, OptimizerStep
from mien.training.x_portrait.face_reading_loss import FaceReadingLoss

_READ = 52  # scores of the face reader
_OTHER_PERSON = 0.5
_SCORES, _READING = 2.0, 2.0  # weights


@dataclass(frozen=True)
class WindowEncoderConfig(StageConfig):
    """Of the encoders."""

    reading: bool = option(True, "Codes tell what a frozen face reader sees as well.")


class WindowEncoderModel(EncoderModel):
    """With two linear heads that only training knows."""

    def __init__(self, config: DeXPortraitConfig, scores: int) -> None:
        super().__init__(config)
        self.scores = nn.Linear(config.expression.code, scores)
        self.read_scores = nn.Linear(config.expression.code, _READ)


class WindowEncoders(DexEncoders):
    """See the module."""

    steps = 6000

    def __init__(self, options: WindowEncoderConfig, config: DeXPortraitConfig | None = None) -> None:
        """config: in place of the nano size's."""
        usual = MotionConfig(options.stage, dataset=options.dataset, loop=options.loop, preset=PRESET)
        super().__init__(
            usual, config or FACE_WINDOW, augmentation=replace(EncoderAugmentation(), other_person=_OTHER_PERSON)
        )
        self.name, self.reading = options.stage, options.reading
        heads = ("scores", "read_scores") if options.reading else ("scores",)
        parts = ("pose_encoder", "expression_encoder", "expression_shape", *heads)
        self.optimizer_steps = (OptimizerStep("encoders", parts, options.loop.learning_rate or 1e-3, self.loss),)
        self._reader: FaceReadingLoss | None = None

    def build(self) -> nn.Module:
        """Random encoders and heads; the mean head of the data."""
        torch.manual_seed(self.options.loop.seed)
        model = WindowEncoderModel(self.config, self.data.groups[0].scores.shape[1])
        model.expression_shape.mean.copy_(torch.from_numpy(self.data.mean))
        nn.init.normal_(model.expression_shape.read.weight, std=0.01)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """As `DexEncoders.loss`, with the commanded scores and what the reader sees."""
        assert isinstance(model, WindowEncoderModel)
        losses, codes = self.losses_and_codes(model, batch)
        wanted = torch.cat([batch["scores"]] * 2)
        losses["scores"] = _SCORES * (model.scores(codes) - wanted).abs().mean()
        if self.reading:
            seen, present = self._seen(torch.cat([batch["crop"], batch["again"]]))
            away = (model.read_scores(codes) - seen).abs() * present[:, None]
            losses["read"] = _READING * away.mean()
        return losses

    @torch.no_grad()
    def _seen(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """The frozen reader's scores [n, 52] of crops, and in which of them it sees a face [n]."""
        if self._reader is None:
            self._reader = FaceReadingLoss(crops.device)
        _, scores, presence = self._reader.read(crops)
        return scores, (presence > 0.5).float()
