"""Stage `dex/face-window-encoder`: the encoders of DeX-Portrait nano, before the window model or on their own.

    mien train dex/face-window-encoder --data GROUPS --data PAIRED_GROUPS --data CLIPS:0.1 --out runs/dex-encoders

As `dex/motion --preset supervised`, at the face's own resolution, and with two more things for a code to tell, both
dropped at inference: all commanded expression scores (winks, gaze, single brows, the tongue), and what a frozen face
reader sees. The second view of an expression is often another person's. Clips of `mien data prepare` add faces of which
no ground truth is known (`encoder_clips`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.models.dex_portrait import FACE_WINDOW, DeXPortraitConfig
from mien.training.dex_portrait.encoder_clips import ClipFaces, is_clips
from mien.training.dex_portrait.encoder_data import EncoderAugmentation
from mien.training.dex_portrait.encoders import PRESET, DexEncoders, EncoderModel, EncoderWeights
from mien.training.dex_portrait.losses import contrast
from mien.training.dex_portrait.motion_trainer import MotionConfig
from mien.training.engine.config import StageConfig, option
from mien.training.engine.stage import Batch, Losses, OptimizerStep
from mien.training.x_portrait.face_reading_loss import FaceReadingLoss

_READ = 52  # scores of the face reader
_OTHER_PERSON = 0.5
_SCORES, _READING = 2.0, 2.0  # weights
# Agreement alone is best served by one code for all faces, and was: within a thousand steps at a weight of 0.5, at a
# rate of 2.5e-3, all codes were one. What draws two views together must push the others apart as well.
_AGREEMENT, _CONTRAST = 0.1, 0.16


@dataclass(frozen=True)
class WindowEncoderConfig(StageConfig):
    """Of the encoders."""

    reading: bool = option(True, "Codes tell what a frozen face reader sees as well.")
    augmentation: bool = option(True, "Pictures are changed, and others show an expression (off: an ablation).")


class WindowEncoderModel(EncoderModel):
    """With two linear heads that only training knows."""

    def __init__(self, config: DeXPortraitConfig, scores: int) -> None:
        super().__init__(config)
        self.scores = nn.Linear(config.expression.code, scores)
        self.read_scores = nn.Linear(config.expression.code, _READ)


class WindowEncoders(DexEncoders):
    """See the module."""

    steps, batch_size = 6000, 48

    def __init__(self, options: WindowEncoderConfig, config: DeXPortraitConfig | None = None) -> None:
        """config: in place of the nano size's."""
        usual = MotionConfig(options.stage, dataset=options.dataset, loop=options.loop, preset=PRESET)
        augmentation = EncoderAugmentation.none()
        if options.augmentation:
            augmentation = replace(EncoderAugmentation(), other_person=_OTHER_PERSON)
        super().__init__(usual, config or FACE_WINDOW, EncoderWeights(agreement=_AGREEMENT), augmentation)
        self.name, self.reading = options.stage, options.reading
        clips = {folder: part for folder, part in self.mixture_weights.items() if is_clips(folder)}
        self.folders = [folder for folder in self.folders if folder not in clips]
        if not self.folders:
            raise InputError("encoders need exact ground truth too: give --data a folder of mien data avatars as well.")
        self.mixture_weights = {folder: self.mixture_weights[folder] for folder in self.folders}
        self.clips = ClipFaces(clips)
        heads = ("scores", "read_scores") if options.reading else ("scores",)
        parts = ("pose_encoder", "expression_encoder", "expression_shape", *heads)
        self.optimizer_steps = (OptimizerStep("encoders", parts, options.loop.learning_rate or 6e-4, self.loss),)
        self._reader: FaceReadingLoss | None = None

    def build(self) -> nn.Module:
        """Random encoders and heads; the mean head of the data."""
        torch.manual_seed(self.options.loop.seed)
        model = WindowEncoderModel(self.config, self.data.groups[0].scores.shape[1])
        model.expression_shape.mean.copy_(torch.from_numpy(self.data.mean))
        nn.init.normal_(model.expression_shape.read.weight, std=0.01)
        for head in (model.scores, model.read_scores):
            nn.init.zeros_(head.weight)  # heads that guess at first are served best by codes that say nothing
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """As `DexEncoders.batch`; some of the samples are faces of clips (`ClipFaces.draw`), where there are any."""
        wanted = self.clips.part * batch_size
        of_clips = min(int(wanted + rng.random()), batch_size - 1) if wanted else 0
        made = super().batch(rng, batch_size - of_clips)
        if of_clips:
            made = {**made, **self.clips.draw(rng, of_clips, self.config.expression.size, self.augmentation)}
        return made

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """As `DexEncoders.loss`, with the commanded scores and what the reader sees."""
        assert isinstance(model, WindowEncoderModel)
        losses, codes = self.losses_and_codes(model, batch)
        losses["contrast"] = _CONTRAST * contrast(*codes.chunk(2))
        wanted = torch.cat([batch["scores"]] * 2)
        losses["scores"] = _SCORES * (model.scores(codes) - wanted).abs().mean()
        if self.reading:
            seen, present = self._seen(torch.cat([batch["crop"], batch["again"]]))
            away = (model.read_scores(codes) - seen).abs() * present[:, None]
            losses["read"] = _READING * away.mean()
        if "clip_crop" in batch:
            losses |= self._clip_losses(model, batch)
        return losses

    def _clip_losses(self, model: WindowEncoderModel, batch: Batch) -> Losses:
        """Of faces of clips: two views have one code, which tells what the reader sees in the face as it is."""
        codes = model.expression_encoder(torch.cat([batch["clip_crop"], batch["clip_again"]]))
        one, two = codes.chunk(2)
        share = len(one) / (len(one) + len(batch["crop"]))  # of the batch: other losses are means over the rest of it
        unlike = share * self.weights.agreement * (1 - torch.cosine_similarity(one, two))
        losses = {"clip_agreement": unlike.mean()}
        if self.reading:
            seen, present = self._seen(batch["clip_plain"])
            away = (model.read_scores(codes) - torch.cat([seen] * 2)).abs() * torch.cat([present] * 2)[:, None]
            losses["clip_read"] = share * _READING * away.mean()
        return losses

    @torch.no_grad()
    def _seen(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """The frozen reader's scores [n, 52] of crops, and in which of them it sees a face [n]."""
        if self._reader is None:
            self._reader = FaceReadingLoss(crops.device)
        _, scores, presence = self._reader.read(crops)
        return scores, (presence > 0.5).float()
