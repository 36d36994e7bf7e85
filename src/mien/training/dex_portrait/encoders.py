"""Stage `dex/motion --preset supervised`, nano only: DeX-Portrait's encoders from ground truth.

Avatars tell what the paper's generator has to find out: the head pose of every picture, and how its expression moves
the keypoints. Of the motion trainer only the encoders go on to the animator; a small one on a processor learns them far
sooner from that ground truth than from pictures.

    mien train dex/motion --preset supervised --data GROUPS --data PAIRED_GROUPS --out runs/dex-encoders
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.errors import InputError
from mien.models.dex_portrait import NANO, DeXPortraitConfig
from mien.models.dex_portrait.expression_encoder import ExpressionEncoder
from mien.models.dex_portrait.expression_shape import ExpressionShape
from mien.models.dex_portrait.pose_encoder import PoseEncoder
from mien.pipelines.pictures import to_uint8
from mien.training.dex_portrait.encoder_data import EncoderAugmentation, EncoderData, count_groups
from mien.training.dex_portrait.losses import anchor_distance
from mien.training.dex_portrait.motion_trainer import PRESETS, DexMotion, MotionConfig
from mien.training.engine import checkpoints
from mien.training.engine.stage import Batch, Losses, OptimizerStep, Stage
from mien.typing import Picture

PRESET, ABLATION = "supervised", "supervised-no-augmentation"
_SHOWN = 8  # rows of the picture grid


@dataclass(frozen=True)
class EncoderWeights:
    """Weights of the losses.

    Attributes:
        anchor: of the pose's distance to the exact one.
        moved: L1 of the keypoints' displacement, half face heights.
        agreement: 1 - cosine of the codes of two views of one expression.
        apart: how far different expressions' cosine exceeds `alike`.
        alike: see apart.
        steady: L1 of the turns, radians, that are read from one pose with two expressions.
    """

    anchor: float = 1.0
    moved: float = 25.0
    agreement: float = 0.5
    apart: float = 0.2
    alike: float = 0.3
    steady: float = 2.0


class EncoderModel(nn.Module):
    """What is trained, under one roof, as a pipeline folder names it."""

    def __init__(self, config: DeXPortraitConfig) -> None:
        super().__init__()
        self.pose_encoder = PoseEncoder(**config.pose_encoder())
        self.expression_encoder = ExpressionEncoder(**config.expression_encoder())
        self.expression_shape = ExpressionShape(config.expression.code)


class DexEncoders(Stage):
    """Pose, displacement, and codes that are alike where expressions are."""

    name = "dex/motion"
    steps, batch_size = 4000, 16
    ema = 0.995

    def __init__(
        self,
        options: MotionConfig,
        config: DeXPortraitConfig | None = None,
        weights: EncoderWeights | None = None,
        augmentation: EncoderAugmentation | None = None,
    ) -> None:
        """config, weights, augmentation: in place of the nano size's.

        Raises:
            InputError: another size, or other data.
        """
        if options.size != "nano":
            raise InputError(f"--preset {PRESET} is of nano size only: leave --size or --preset away.")
        self.options, self.config = options, config or NANO
        usual = EncoderAugmentation.none() if options.preset == ABLATION else EncoderAugmentation()
        self.weights, self.augmentation = weights or EncoderWeights(), augmentation or usual
        self.mixture_weights = dict(options.sources())
        self.folders = list(self.mixture_weights)
        if any(not folder.is_dir() for folder in self.folders):
            raise InputError(f"--preset {PRESET} needs folders of groups: make them by mien data avatars.")
        parts = ("pose_encoder", "expression_encoder", "expression_shape")
        self.optimizer_steps = (OptimizerStep("encoders", parts, options.loop.learning_rate or 1e-3, self.loss),)
        self._data: EncoderData | None = None
        self._known = 0
        self._part_weight = torch.from_numpy(_importance())

    @property
    def data(self) -> EncoderData:
        """Read on first use."""
        if self._data is None:
            self._known = count_groups(self.folders)
            self._data = EncoderData(self.folders, self.options.dataset.hold_out, weights=self.mixture_weights)
        return self._data

    def build(self) -> nn.Module:
        """Random encoders; the mean head of the data."""
        torch.manual_seed(self.options.loop.seed)
        model = EncoderModel(self.config)
        model.expression_shape.mean.copy_(torch.from_numpy(self.data.mean))
        nn.init.normal_(model.expression_shape.read.weight, std=0.01)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def start(self, model: nn.Module, place: Path) -> None:
        """From a run of this preset; the mean head stays that of the data."""
        assert isinstance(model, EncoderModel)
        mean = model.expression_shape.mean.clone()
        checkpoints.fill(model, checkpoints.find(place).averaged_weights())
        model.expression_shape.mean.copy_(mean)

    def refresh(self) -> None:
        """Look for new groups."""
        if count_groups(self.folders) != self._known:
            self._data = None

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """`batch_size` frames; see `EncoderData.draw`."""
        return self.data.draw(rng, batch_size, (self.config.pose.size, self.config.expression.size), self.augmentation)

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """The terms of `EncoderWeights`."""
        assert isinstance(model, EncoderModel)
        losses, codes = self.losses_and_codes(model, batch)
        one, two = codes.chunk(2)
        return {**losses, "apart": self.weights.apart * _likeness_beyond(one, two, self.weights.alike)}

    def losses_and_codes(self, model: EncoderModel, batch: Batch) -> tuple[Losses, Tensor]:
        """The same but `apart`, with the expression codes of `crop` and `again` one after the other."""
        w, count = self.weights, len(batch["crop"])
        # with exact ground truth and endless augmentation its dropout costs more than it gives
        model.expression_encoder.eval()
        poses, steady = model.pose_encoder(batch["masked"]), 0 * batch["pose"].sum()
        if "twins" in batch:
            twins = model.pose_encoder(batch["twins"])
            steady = (twins - poses[batch["twin_of"].long()])[:, :3].abs().sum(1).mean()
        codes = model.expression_encoder(torch.cat([batch["crop"], batch["again"]]))
        moved = model.expression_shape(codes)
        away = (moved - torch.cat([batch["moved"], batch["moved_again"]])).abs() * self._part_weight.to(moved.device)
        one, two = codes[:count], codes[count:]
        losses = {
            "anchor": w.anchor * anchor_distance(poses, batch["pose"]),
            "steady": w.steady * steady,
            "moved": w.moved * away.mean(),
            "agreement": w.agreement * (1 - torch.cosine_similarity(one, two)).mean(),
        }
        return losses, codes

    def pictures(self, model: nn.Module) -> Picture:
        """Rows of two views of an expression, then keypoints: the ground truth, and what is read off either view."""
        assert isinstance(model, EncoderModel)
        batch = self._held_out().draw(
            np.random.default_rng(101), _SHOWN, (self.config.pose.size, self.config.expression.size), self.augmentation
        )
        views, mean = (batch["crop"], batch["again"]), model.expression_shape.mean.cpu()
        device = model.expression_shape.mean.device
        read = [model.expression_shape(model.expression_encoder(view.to(device))).float().cpu() for view in views]
        columns = [np.concatenate(to_uint8(view), 0) for view in views]
        for moved in (batch["moved"], *read):
            columns.append(np.concatenate([_drawn((mean + face).numpy(), views[0].shape[-1]) for face in moved], 0))
        return np.concatenate(columns, 1)

    def export(self, model: nn.Module, folder: Path) -> None:
        """The three parts, as a pipeline folder holds them."""
        assert isinstance(model, EncoderModel)
        for part in ("pose_encoder", "expression_encoder", "expression_shape"):
            getattr(model, part).save_pretrained(folder / part)

    def _held_out(self) -> EncoderData:
        try:
            return EncoderData(self.folders, self.options.dataset.hold_out, True)
        except InputError:  # nobody is kept out
            return self.data


def motion_stage(options: MotionConfig) -> Stage:
    """What `dex/motion` is: the motion trainer, or the supervised training, as the preset says."""
    return DexMotion(options) if options.preset in PRESETS else DexEncoders(options)


def _importance() -> NDArray[np.float32]:
    """Weights [70, 1] of the keypoints: what is looked at counts most."""
    weight = np.ones((70, 1), np.float32)
    weight[:17] = 0.6
    weight[36:48] = 3.0
    weight[48:68] = 2.0
    weight[68:] = 2.5
    return np.asarray(weight / weight.mean(), np.float32)


def _likeness_beyond(one: Tensor, two: Tensor, limit: float) -> Tensor:
    """Mean of what the cosines between rows [n, e] of different frames have above `limit`."""
    cosines = nn.functional.normalize(one, dim=1) @ nn.functional.normalize(two, dim=1).T
    others = ~torch.eye(len(one), dtype=torch.bool, device=one.device)
    return (cosines - limit).clamp_min(0)[others].mean() if len(one) > 1 else cosines.sum() * 0


def _drawn(head: NDArray[np.floating], side: int) -> Picture:
    """Keypoints [70, 3] of a frontal head as dots."""
    canvas = np.full((side, side, 3), 255, np.uint8)
    for x, y in ((head[:, :2] + [0, -0.1]) * (0.4 * side) + side / 2).round(1):
        cv2.circle(canvas, (round(x * 8), round(y * 8)), 8, (40, 40, 160), -1, cv2.LINE_AA, 3)
    return canvas
