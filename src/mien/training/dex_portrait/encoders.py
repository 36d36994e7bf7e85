"""Stage `dex/face-window-encoder`: the encoders of DeX-Portrait nano, before the window model.

    mien train dex/face-window-encoder --data GROUPS --data PAIRED_GROUPS --data CLIPS:0.1 --out runs/dex-encoders

Avatars tell what the paper's generator has to find out: the head pose of every picture, and which expression it shows.
Of the motion trainer only the encoders go on to the animator; small ones on a processor learn them far sooner from that
ground truth than from pictures. Beside the code there are heads that only training knows: the commanded expression
scores (winks, gaze, single brows, the tongue), and what a frozen face reader sees. How the keypoints are moved is read
off the code at inference as well. The second view of an expression is often another person's. Clips of
`mien data prepare` add faces of which no ground truth is known (`encoder_clips`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import InputError
from mien.faces.networks import load_weights
from mien.models.dex_portrait import FACE_WINDOW, DeXPortraitConfig
from mien.models.dex_portrait.face_encoders import FaceExpressionEncoder, FacePoseEncoder
from mien.models.face_networks import LandmarkNetwork
from mien.pipelines.pictures import to_uint8
from mien.training.dex_portrait.encoder_clips import ClipFaces, is_clips
from mien.training.dex_portrait.encoder_data import EncoderAugmentation, EncoderData, count_groups
from mien.training.dex_portrait.losses import anchor_distance, contrast
from mien.training.engine import checkpoints
from mien.training.engine.config import StageConfig, option
from mien.training.engine.stage import Batch, Losses, OptimizerStep, Stage
from mien.training.x_portrait.face_reading_loss import FaceReadingLoss
from mien.typing import Picture
from mien.weights import bundled

_READ = 52  # scores of the face reader
_SHOWN = 8  # rows of the picture grid
_TAUGHT = 0.3  # of the learning rate, for what comes with knowledge of faces
# Weights. Agreement alone is best served by one code for all faces, and was: within a thousand steps all codes were
# one. What draws two views together must push the others apart as well.
_ANCHOR, _STEADY, _MOVED, _SCORES, _READING, _AGREEMENT, _CONTRAST = 1.0, 2.0, 25.0, 1.0, 0.5, 0.1, 0.16


@dataclass(frozen=True)
class EncoderConfig(StageConfig):
    """Of the encoders."""

    reading: bool = option(True, "Codes tell what a frozen face reader sees in clips as well.")
    augmentation: bool = option(True, "Pictures are changed, and others show an expression (off: an ablation).")


class EncoderModel(nn.Module):
    """Both encoders, with linear heads on the code that only training knows."""

    def __init__(self, config: DeXPortraitConfig, scores: int) -> None:
        super().__init__()
        self.pose_encoder = FacePoseEncoder(**config.pose_encoder())
        self.expression_encoder = FaceExpressionEncoder(**config.expression_encoder())
        code = config.expression.code
        self.scores = nn.Linear(code, scores)
        self.read_scores = nn.Linear(code, _READ)


class DexEncoders(Stage):
    """See the module."""

    steps, batch_size = 3000, 24
    ema = 0.995

    def __init__(self, options: EncoderConfig, config: DeXPortraitConfig = FACE_WINDOW) -> None:
        """config: sizes.

        Raises:
            InputError: no folder of groups is among the data.
        """
        self.name, self.options, self.config = options.stage, options, config
        self.augmentation = EncoderAugmentation() if options.augmentation else EncoderAugmentation.none()
        given = dict(options.sources())
        clips = {folder: part for folder, part in given.items() if is_clips(folder)}
        self.groups = {folder: part for folder, part in given.items() if folder not in clips}
        if not self.groups or any(not folder.is_dir() for folder in self.groups):
            raise InputError("encoders need exact ground truth: give --data a folder of groups (mien data avatars).")
        self.clips = ClipFaces(clips)
        heads = ("scores", *(("read_scores",) if options.reading and clips else ()))
        parts = ("pose_encoder", "expression_encoder", *heads)
        rates = {"pose_encoder": _TAUGHT, "expression_encoder": _TAUGHT}
        self.optimizer_steps = (
            OptimizerStep("encoders", parts, options.loop.learning_rate or 1e-3, self.loss, rates=rates),
        )
        self._data: EncoderData | None = None
        self._known = 0
        self._part_weight = torch.from_numpy(_importance())
        self._reader: FaceReadingLoss | None = None

    @property
    def data(self) -> EncoderData:
        """Read on first use."""
        if self._data is None:
            self._known = count_groups(list(self.groups))
            self._data = EncoderData(list(self.groups), self.options.dataset.hold_out, weights=self.groups)
        return self._data

    def refresh(self) -> None:
        """Look for new groups."""
        if count_groups(list(self.groups)) != self._known:
            self._data = None

    # -- networks ----------------------------------------------------------------------------------------------------

    def build(self) -> nn.Module:
        """Encoders that begin as the face reader's landmark network, and heads that begin with nothing."""
        torch.manual_seed(self.options.loop.seed)
        model = EncoderModel(self.config, self.data.groups[0].scores.shape[1])
        known = load_weights(LandmarkNetwork(), bundled("face-networks") / "landmarks.safetensors").state_dict()
        for encoder in (model.pose_encoder, model.expression_encoder):
            encoder.features.take(known)
        for head in (model.scores, model.read_scores):
            nn.init.zeros_(head.weight)  # heads that guess at first are served best by codes that say nothing
            nn.init.zeros_(head.bias)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def start(self, model: nn.Module, place: Path) -> None:
        """See `Stage.start`: from a run of this stage."""
        checkpoints.fill(model, checkpoints.find(place).averaged_weights())

    # -- data and loss -----------------------------------------------------------------------------------------------

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """See `Stage.batch` and `EncoderData.draw`; some samples are faces of clips, where there are any."""
        wanted = self.clips.part * batch_size
        of_clips = min(int(wanted + rng.random()), batch_size - 1) if wanted else 0
        size = self.config.expression.size
        made = self.data.draw(rng, batch_size - of_clips, size, self.augmentation)
        return {**made, **self.clips.draw(rng, of_clips, size, self.augmentation)} if of_clips else made

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """Exact poses; codes that tell scores and keypoints, are alike for one expression and differ for others.

        Args:
            model: an `EncoderModel`.
            batch: see `batch`.
            generator: has no influence.

        Returns:
            By name, weighted: anchor and steady of the pose; moved, scores, agreement and contrast of the expression;
            clip_agreement, clip_contrast and clip_read where the batch holds faces of clips.
        """
        assert isinstance(model, EncoderModel)
        codes = model.expression_encoder(torch.cat([batch["crop"], batch["again"]]))
        one, two = codes.chunk(2)
        moved = model.expression_encoder.moved(codes)
        away = (moved - torch.cat([batch["moved"], batch["moved_again"]])).abs() * self._part_weight.to(moved.device)
        told = (model.scores(codes) - torch.cat([batch["scores"]] * 2)) / self.data.spread.to(moved.device)
        losses = {
            **self._pose_losses(model, batch),
            "moved": _MOVED * away.mean(),
            "scores": _SCORES * functional.smooth_l1_loss(told, torch.zeros_like(told)),
            "agreement": _AGREEMENT * (1 - torch.cosine_similarity(one, two)).mean(),
            "contrast": _CONTRAST * contrast(one, two),
        }
        return {**losses, **self._clip_losses(model, batch)} if "clip_crop" in batch else losses

    def _pose_losses(self, model: EncoderModel, batch: Batch) -> Losses:
        poses, steady = model.pose_encoder(batch["masked"]), 0 * batch["pose"].sum()
        if "twins" in batch:
            twins = model.pose_encoder(batch["twins"])
            steady = (twins - poses[batch["twin_of"].long()]).abs().sum(1).mean()
        return {"anchor": _ANCHOR * anchor_distance(poses, batch["pose"]), "steady": _STEADY * steady}

    def _clip_losses(self, model: EncoderModel, batch: Batch) -> Losses:
        """Of faces of clips: two views have one code, which tells what the reader sees in the face as it is."""
        codes = model.expression_encoder(torch.cat([batch["clip_crop"], batch["clip_again"]]))
        one, two = codes.chunk(2)
        share = len(one) / (len(one) + len(batch["crop"]))  # of the batch: other losses are means over the rest of it
        losses = {
            "clip_agreement": share * _AGREEMENT * (1 - torch.cosine_similarity(one, two)).mean(),
            "clip_contrast": share * _CONTRAST * contrast(one, two),
        }
        if self.options.reading:
            seen, present = self._seen(batch["clip_plain"])
            away = functional.smooth_l1_loss(model.read_scores(codes) / 0.1, seen.repeat(2, 1) / 0.1, reduction="none")
            losses["clip_read"] = share * _READING * (away * present.repeat(2)[:, None]).mean()
        return losses

    @torch.no_grad()
    def _seen(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """The frozen reader's scores [n, 52] of crops, and in which of them it sees a face [n]."""
        if self._reader is None:
            self._reader = FaceReadingLoss(crops.device)
        _, scores, presence = self._reader.read(crops)
        return scores, (presence > 0.5).float()

    # -- to look at --------------------------------------------------------------------------------------------------

    def pictures(self, model: nn.Module) -> Picture:
        """See `Stage.pictures`.

        Rows of what the pose encoder sees, two views of an expression, and bars: scores as commanded, and as told of
        either.
        """
        assert isinstance(model, EncoderModel)
        size = self.config.expression.size
        batch = self._held_out().draw(np.random.default_rng(101), _SHOWN, size, self.augmentation)
        device = next(model.parameters()).device
        told = [model.scores(model.expression_encoder(batch[name].to(device))).cpu() for name in ("crop", "again")]
        columns = [np.concatenate(to_uint8(batch[name]), 0) for name in ("masked", "crop", "again")]
        for scores in (batch["scores"], *told):
            columns.append(np.concatenate([_bars(row.float().numpy(), size) for row in scores], 0))
        return np.concatenate(columns, 1)

    def export(self, model: nn.Module, folder: Path) -> None:
        """See `Stage.export`: both encoders, as a pipeline folder holds them."""
        assert isinstance(model, EncoderModel)
        for part in ("pose_encoder", "expression_encoder"):
            getattr(model, part).save_pretrained(folder / part)

    def _held_out(self) -> EncoderData:
        try:
            return EncoderData(list(self.groups), self.options.dataset.hold_out, True)
        except InputError:  # nobody is kept out
            return self.data


def _importance() -> np.ndarray:
    """Weights [70, 1] of the keypoints: what is looked at counts most."""
    weight = np.ones((70, 1), np.float32)
    weight[:17] = 0.6
    weight[36:48] = 3.0
    weight[48:68] = 2.0
    weight[68:] = 2.5
    return np.asarray(weight / weight.mean(), np.float32)


def _bars(scores: np.ndarray, side: int) -> Picture:
    """A picture of scores [e] in [0, 1] as bars beside each other."""
    canvas = np.full((side, side, 3), 255, np.uint8)
    width = max(side // len(scores), 1)
    for place, score in enumerate(scores[: side // width]):
        height = round(float(np.clip(score, 0, 1)) * (side - 8))
        canvas[side - height :, place * width : (place + 1) * width - 1] = (160, 40, 40)
    return canvas
