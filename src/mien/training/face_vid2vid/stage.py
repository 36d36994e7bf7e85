"""Stages `face-vid2vid` and `face-vid2vid-plus`: 𝓕, which makes X-Portrait's control images, and its tuned version.

    mien train face-vid2vid      --data groups --out runs/f      [--size full --vgg vgg19.safetensors]
    mien train face-vid2vid-plus --data groups --out runs/f-plus --start runs/f

A person's picture is moved to another picture of the same person, which is the truth (Wang, Mallya, Liu 2021). 𝓕 Plus
goes on from 𝓕 with losses on eyes and mouth (X-Portrait, Section 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.models.face_vid2vid import FULL, NANO, FaceVid2Vid, FaceVid2VidConfig, Portrait
from mien.models.face_vid2vid.discriminator import Discriminator
from mien.models.face_vid2vid.layers import Conv3d, Res2d, Res3d
from mien.pipelines.face_vid2vid import FaceVid2VidPipeline
from mien.pipelines.pictures import to_uint8
from mien.training.dex_portrait.data import SceneData
from mien.training.dex_portrait.losses import Perceptual, VGGPerceptual
from mien.training.engine import checkpoints
from mien.training.engine.config import TrainOptions
from mien.training.engine.stage import Batch, Picture, Stage, Terms, Turn
from mien.training.face_vid2vid.data import VidBatches, open_data
from mien.training.face_vid2vid.losses import (
    Deformation,
    FaceVid2VidWeights,
    choose_perceptual,
    deformation_prior,
    equivariance,
    feature_matching,
    head_pose_distance,
    hinge_discriminator,
    keypoint_prior,
    local_losses,
    perceptual_l1,
    pixel_l1,
)

PARTS = ("appearance", "keypoint_detector", "head_pose", "motion_field", "generator")
_SHOWN = 6  # rows of the picture grid
_CLIP = 8  # frames of the clip
_TURN = 20.0  # degrees, of the free view in the grid


@dataclass(frozen=True)
class Recipe:
    """What the sizes differ in. steps, rows: see `Stage`; plus_steps: an eighth of the steps, as the spec advises."""

    config: FaceVid2VidConfig
    steps: int
    plus_steps: int
    rows: int
    learning_rate: float
    weights: FaceVid2VidWeights


# 4 rows on each of 8 devices are the usual batch of 32. At nano size there is no VGG to speak of: the opponent is weak
# and comes late, and a degree weighs less beside losses that are a tenth as large.
RECIPES = {
    "full": Recipe(FULL, 200_000, 25_000, 4, 2e-4, FaceVid2VidWeights()),
    "nano": Recipe(
        NANO, 20_000, 2_500, 8, 2e-4,
        FaceVid2VidWeights(adversarial=0.1, matching=1.0, adversarial_from=4_000, pose=2.0),
    ),
}  # fmt: skip
_PLUS_RATE = 5e-5
_PLUS_KEYPOINTS = 0.2  # of the rate, for the keypoint detector: 1e-5


def plus_weights(weights: FaceVid2VidWeights) -> FaceVid2VidWeights:
    """All losses stay; those on the patches come in, and deviations are penalised a fifth as much."""
    deformation = 0.2 * weights.deformation
    return replace(weights, adversarial_from=0, deformation=deformation, local_l1=10.0, local_perceptual=10.0)


class FaceVid2VidModel(nn.Module):
    """𝓕 and its opponent under one roof."""

    def __init__(self, config: FaceVid2VidConfig) -> None:
        super().__init__()
        self.f = FaceVid2Vid.of(config)
        self.discriminator = Discriminator(config)


class FaceVid2VidStage(Stage):
    """The generator's turn and the discriminator's. plus: 𝓕 Plus, which starts from 𝓕."""

    clip_norm = 100.0  # against outbursts only
    ema = 0.999

    def __init__(
        self,
        options: TrainOptions,
        plus: bool = False,
        config: FaceVid2VidConfig | None = None,
        weights: FaceVid2VidWeights | None = None,
        data: Sequence[tuple[SceneData, float]] | None = None,
        perceptual: Perceptual | None = None,
    ) -> None:
        """config, weights, data, perceptual: in place of what the options say. `options.frames`: targets of a source;
        `options.vgg`: VGG19's (or VGG16's) weights."""
        recipe = RECIPES[options.size]
        self.name, self.options, self.plus = "face-vid2vid-plus" if plus else "face-vid2vid", options, plus
        self.config, self.rows = config or recipe.config, recipe.rows
        self.steps = recipe.plus_steps if plus else recipe.steps
        given = weights or recipe.weights
        self.weights = plus_weights(given) if plus else given
        self.perceptual = perceptual or choose_perceptual(options.vgg)
        self.targets = options.frames or 1
        self._data = None if data is None else VidBatches(data, self.config.image_size)
        rate, parts = _PLUS_RATE if plus else recipe.learning_rate, tuple(f"f.{part}" for part in PARTS)
        rates = {"f.keypoint_detector": _PLUS_KEYPOINTS} if plus else {}
        betas = (0.5, 0.999)
        self.turns = (
            Turn("generator", parts, rate, self._generator_loss, betas, weight_decay=0.0, rates=rates),
            Turn("discriminator", ("discriminator",), rate, self._discriminator_loss, betas, weight_decay=0.0),
        )
        self._step = 0

    # -- networks ------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """See `Stage.check`."""
        if self.plus and self.options.start is None and checkpoints.newest(Path(self.options.out)) is None:
            raise InputError("face-vid2vid-plus goes on from F: give --start the run of `mien train face-vid2vid`.")
        self.batches()

    def build(self) -> nn.Module:
        """Random weights."""
        torch.manual_seed(self.options.seed)
        return FaceVid2VidModel(self.config)

    def start(self, model: nn.Module, place: Path) -> None:
        """A run, or what one exported; with the latter the opponent begins anew."""
        assert isinstance(model, FaceVid2VidModel)
        if not (place / "model_index.json").is_file():
            super().start(model, place)
            return
        checkpoints.fill(model.f, FaceVid2VidPipeline.from_pretrained(place).face_vid2vid.state_dict(), ())

    def sketch(self) -> tuple[nn.Module, Batch]:
        """See `Stage.sketch`."""
        rows, side = self.options.rows or self.rows, self.config.image_size
        count = rows * self.targets
        with torch.device("meta"):
            model = FaceVid2VidModel(self.config)
            batch = {name: torch.empty(count, 3, side, side) for name in ("target", "made")}
            batch |= {"source": torch.empty(rows, 3, side, side), "source_angles": torch.empty(rows, 3)}
            batch |= {"angles": torch.empty(count, 3), "corners": torch.empty(count, 3, 2, dtype=torch.int64)}
        return model, {**batch, "step": torch.tensor(self.weights.adversarial_from)}

    def block_types(self) -> tuple[type[nn.Module], ...]:
        """Residual blocks and what works on volumes; SPADE's not, for spectral norms would move twice."""
        return (Conv3d, Res2d, Res3d)

    # -- data ----------------------------------------------------------------------------------------------------------

    def batches(self) -> VidBatches:
        """The data, opened on first use."""
        if self._data is None:
            side = self.config.image_size
            self._data = VidBatches(open_data(self.options, side), side)
        return self._data

    def at_step(self, step: int) -> None:
        """Passed on to the data, and kept for the opponent's schedule."""
        self._step = step
        for data, _ in self.batches().data:
            data.at_step(step)

    def refresh(self) -> None:
        """Look for new data."""
        for data, _ in self.batches().data:
            data.refresh()

    def batch(self, rng: np.random.Generator, rows: int) -> Batch:
        """See `VidBatches.draw`."""
        return {**self.batches().draw(rng, rows, self.targets), "step": torch.tensor(self._step)}

    def images(self, batch: Batch) -> int:
        """Targets."""
        return len(batch["target"])

    # -- losses --------------------------------------------------------------------------------------------------------

    def _generator_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        assert isinstance(model, FaceVid2VidModel)
        w, target = self.weights, batch["target"]
        portrait = model.f.encode(batch["source"])
        shown, motion = portrait.repeat(len(target) // len(batch["source"])), model.f.motion(target)
        made = model.f(shown, motion).picture
        batch["made"] = made.detach()
        keypoints = motion.keypoints(shown.canonical)
        deformation = Deformation.draw(len(target), generator, target.device)
        again = model.f.motion(deformation.picture(target)).keypoints(shown.canonical)
        angles = torch.cat([portrait.motion.angles, motion.angles])
        terms = self._picture_terms(made, target) | {
            "equivariance": w.equivariance * equivariance(keypoints, again, deformation),
            "prior": w.prior * keypoint_prior(keypoints),
            "pose": w.pose * head_pose_distance(angles, torch.cat([batch["source_angles"], batch["angles"]])),
            "deformation": w.deformation * deformation_prior(motion),
        }
        if self.plus:
            l1, seen = local_losses(self._perceptual_on(made), made, target, batch["corners"])
            terms |= {"local_l1": w.local_l1 * l1, f"local_{self.perceptual.name}": w.local_perceptual * seen}
        if int(batch["step"]) >= w.adversarial_from:
            logits, fake = model.discriminator(made)
            with torch.no_grad():
                _, real = model.discriminator(target)
            terms["adversarial"] = -w.adversarial * logits.float().mean()
            terms["matching"] = w.matching * feature_matching(fake, real)
        return terms

    def _picture_terms(self, made: Tensor, target: Tensor) -> Terms:
        perceptual = self._perceptual_on(made)
        terms = {perceptual.name: self.weights.perceptual * perceptual_l1(perceptual, made, target)}
        if not isinstance(perceptual, VGGPerceptual):
            terms["pixel"] = self.weights.pixel * pixel_l1(made, target)
        return terms

    def _discriminator_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        assert isinstance(model, FaceVid2VidModel)
        # it learns a little before it counts, so that its first word is worth something
        if int(batch["step"]) < 0.9 * self.weights.adversarial_from:
            return {"waiting": 0 * torch.stack([p.sum() for p in model.discriminator.parameters()]).sum()}
        real, fake = (model.discriminator(batch[name])[0] for name in ("target", "made"))
        return {"discriminator": hinge_discriminator(real, fake)}

    def _perceptual_on(self, like: Tensor) -> Perceptual:
        if isinstance(self.perceptual, nn.Module):
            self.perceptual.to(like.device)
        return self.perceptual

    # -- to look at ----------------------------------------------------------------------------------------------------

    def pictures(self, model: nn.Module) -> Picture:
        """Rows of source, target, result, and the source turned by 20 degrees; people held out, where there are any."""
        assert isinstance(model, FaceVid2VidModel)
        batch, portrait = self._fixed(model, _SHOWN, 1, False)
        made = model.f(portrait, model.f.motion(batch["target"])).picture
        own = portrait.motion
        turned = model.f(portrait, own.turned(own.angles + own.angles.new_tensor([_TURN, 0, 0]))).picture
        return np.concatenate(_rows([batch["source"], batch["target"], made, turned]))

    def clip(self, model: nn.Module) -> list[Picture]:
        """Source, target and result side by side, 8 frames."""
        assert isinstance(model, FaceVid2VidModel)
        batch, portrait = self._fixed(model, 1, _CLIP, True)
        made = model.f(portrait.repeat(_CLIP), model.f.motion(batch["target"])).picture
        return _rows([batch["source"].expand(_CLIP, -1, -1, -1), batch["target"], made])

    def _fixed(self, model: FaceVid2VidModel, sources: int, targets: int, clip: bool) -> tuple[Batch, Portrait]:
        held_out = open_data(self.options, self.config.image_size, True) if self.options.data else []
        batches = VidBatches(held_out, self.config.image_size) if held_out else self.batches()
        drawn = batches.draw(np.random.default_rng(101), sources, targets, clip, plain=True)
        batch = {name: value.to(next(model.parameters()).device) for name, value in drawn.items()}
        return batch, model.f.encode(batch["source"])

    def export(self, model: nn.Module, folder: Path) -> None:
        """A folder for `FaceVid2VidPipeline.from_pretrained` and for `--f`, float16."""
        assert isinstance(model, FaceVid2VidModel)
        FaceVid2VidPipeline(model.f.eval().to(torch.float16)).save_pretrained(folder)


def _rows(columns: Sequence[Tensor]) -> list[Picture]:
    """Columns [n, 3, s, s] in [-1, 1] as n pictures, each with its columns side by side."""
    shown = [to_uint8(column) for column in columns]
    return [np.concatenate(row, axis=1) for row in zip(*shown, strict=True)]
