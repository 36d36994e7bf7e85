"""Stages `face-vid2vid` and `face-vid2vid-plus`: 𝓕, which makes X-Portrait's control images, and its tuned version.

    mien train face-vid2vid      --data groups --out runs/f      [--size full --vgg vgg19.safetensors]
    mien train face-vid2vid-plus --data groups --out runs/f-plus --start runs/f

A person's picture is moved to another picture of the same person, which is the ground truth (Wang, Mallya, Liu 2021). 𝓕
Plus goes on from 𝓕 with losses on eyes and mouth (X-Portrait, Section 4.1).
"""

from __future__ import annotations

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
from mien.training.data.samples import SampleSource, SampleSpec
from mien.training.data.stage import SampleStage, open_held_out
from mien.training.engine import checkpoints
from mien.training.engine.config import SIZES, StageConfig, option
from mien.training.engine.stage import Batch, Losses, OptimizerStep
from mien.training.face_vid2vid.collate import draw_batch
from mien.training.face_vid2vid.losses import (
    Deformation,
    FaceVid2VidWeights,
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
from mien.training.latent_diffusion import sheet, side_by_side
from mien.training.perceptual import Perceptual, VGGPerceptual, choose_perceptual, on_device
from mien.typing import Picture

PARTS = ("appearance", "keypoint_detector", "head_pose", "motion_field", "generator")
_SHOWN = 6  # rows of the picture grid
_CLIP = 8  # frames of the clip
_TURN = 20.0  # degrees, of the free view in the grid


@dataclass(frozen=True)
class Recipe:
    """What the sizes differ in.

    Attributes:
        config: of the networks.
        steps, batch_size: see `Stage`.
        plus_steps: of F Plus, an eighth of the steps.
        learning_rate: of both optimizer steps.
        weights: of the losses.
    """

    config: FaceVid2VidConfig
    steps: int
    plus_steps: int
    batch_size: int
    learning_rate: float
    weights: FaceVid2VidWeights


# 4 samples on each of 8 devices are the usual batch of 32. At nano size there is no VGG to speak of: the discriminator
# is weak and comes late, and a degree weighs less beside losses that are a tenth as large.
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
    """The weights of F Plus: losses on the patches come in, and deviations are penalised a fifth as much.

    Args:
        weights: of F.

    Returns:
        Those of F Plus.
    """
    deformation = 0.2 * weights.deformation
    return replace(weights, adversarial_from=0, deformation=deformation, local_l1=10.0, local_perceptual=10.0)


@dataclass(frozen=True)
class FaceVid2VidStageConfig(StageConfig):
    """Of F and F Plus."""

    size: str = option("nano", "nano or full.", choices=SIZES)
    frames: int = option(1, "Targets of a source.", least=1)
    side: int | None = option(
        None, "Side of the pictures, pixels; else the size's own. A step on half the side costs a quarter.", least=64
    )
    adversarial_from: int | None = option(
        None, "Step from which the discriminator counts; else the size's own, and the first of F Plus.", least=0
    )
    vgg: str | None = option(None, "VGG19's (or VGG16's) weights (.safetensors) for the perceptual losses.")


class FaceVid2VidModel(nn.Module):
    """𝓕 and its discriminator under one roof."""

    def __init__(self, config: FaceVid2VidConfig) -> None:
        super().__init__()
        self.f = FaceVid2Vid.of(config)
        self.discriminator = Discriminator(config)


class FaceVid2VidStage(SampleStage):
    """Generator and discriminator; 𝓕 Plus, which starts from 𝓕, where the config's name says so."""

    options: FaceVid2VidStageConfig

    clip_norm = 100.0  # against outbursts only
    ema = 0.999

    def __init__(
        self,
        options: FaceVid2VidStageConfig,
        config: FaceVid2VidConfig | None = None,
        weights: FaceVid2VidWeights | None = None,
        data: SampleSource | None = None,
        perceptual: Perceptual | None = None,
    ) -> None:
        """config, weights, data, perceptual: in place of what the options say."""
        recipe = RECIPES[options.size]
        self.name, self.options = options.stage, options
        self.plus = plus = options.stage.endswith("-plus")
        self.config, self.batch_size = config or recipe.config, recipe.batch_size
        if options.side is not None:
            self.config = replace(self.config, image_size=options.side)
        self.steps = recipe.plus_steps if plus else recipe.steps
        given = weights or recipe.weights
        self.weights = plus_weights(given) if plus else given
        if options.adversarial_from is not None:
            self.weights = replace(self.weights, adversarial_from=options.adversarial_from)
        self.perceptual = perceptual or choose_perceptual(options.vgg)
        self.targets, self.data = options.frames, data
        rate, parts = _PLUS_RATE if plus else recipe.learning_rate, tuple(f"f.{part}" for part in PARTS)
        rates = {"f.keypoint_detector": _PLUS_KEYPOINTS} if plus else {}
        betas = (0.5, 0.999)
        self.optimizer_steps = (
            OptimizerStep("generator", parts, rate, self._generator_loss, betas, weight_decay=0.0, rates=rates),
            OptimizerStep("discriminator", ("discriminator",), rate, self._discriminator_loss, betas, weight_decay=0.0),
        )
        self._step = 0

    # -- networks ------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """See `Stage.check`."""
        if self.plus and self.options.start is None and checkpoints.newest(Path(self.options.out)) is None:
            raise InputError("face-vid2vid-plus goes on from F: give --start the run of `mien train face-vid2vid`.")
        # the keypoint detector halves its smaller picture once a level
        step = round(2 ** len(self.config.detector_channels) / self.config.detector_scale)
        if self.options.side is not None and self.options.side % step:
            raise InputError(f"--side is {self.options.side}: give a multiple of {step}.")
        super().check()

    def build(self) -> nn.Module:
        """Random weights."""
        torch.manual_seed(self.options.loop.seed)
        return FaceVid2VidModel(self.config)

    def start(self, model: nn.Module, place: Path) -> None:
        """See `Stage.start`: A run, or what one exported; with the latter the discriminator begins anew."""
        assert isinstance(model, FaceVid2VidModel)
        if not (place / "model_index.json").is_file():
            super().start(model, place)
            return
        checkpoints.fill(model.f, FaceVid2VidPipeline.from_pretrained(place).face_vid2vid.state_dict(), ())

    def sketch(self) -> tuple[nn.Module, Batch]:
        """See `Stage.sketch`."""
        batch_size, side = self.options.loop.batch_size or self.batch_size, self.config.image_size
        count = batch_size * self.targets
        with torch.device("meta"):
            model = FaceVid2VidModel(self.config)
            batch = {name: torch.empty(count, 3, side, side) for name in ("target", "made")}
            batch |= {"source": torch.empty(batch_size, 3, side, side), "source_angles": torch.empty(batch_size, 3)}
            batch |= {"angles": torch.empty(count, 3), "corners": torch.empty(count, 3, 2, dtype=torch.int64)}
        return model, {**batch, "step": torch.tensor(self.weights.adversarial_from)}

    def block_types(self) -> tuple[type[nn.Module], ...]:
        """See `Stage.block_types`: residual blocks and what works on volumes.

        SPADE's are not, for spectral norms would move twice.
        """
        return (Conv3d, Res2d, Res3d)

    # -- data ----------------------------------------------------------------------------------------------------------

    def at_step(self, step: int) -> None:
        """See `Stage.at_step`: passed on to the data, and kept for the discriminator's schedule."""
        self._step = step
        super().at_step(step)

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """See `face_vid2vid.collate`."""
        spec = SampleSpec(self.targets, side=self.config.image_size)
        return {**draw_batch(self.samples(), rng, batch_size, spec), "step": torch.tensor(self._step)}

    def images(self, batch: Batch) -> int:
        """See `Stage.images`: targets."""
        return len(batch["target"])

    # -- losses --------------------------------------------------------------------------------------------------------

    def _generator_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
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
        losses = self._picture_terms(made, target) | {
            "equivariance": w.equivariance * equivariance(keypoints, again, deformation),
            "prior": w.prior * keypoint_prior(keypoints),
            "pose": w.pose * head_pose_distance(angles, torch.cat([batch["source_angles"], batch["angles"]])),
            "deformation": w.deformation * deformation_prior(motion),
        }
        if self.plus:
            l1, seen = local_losses(on_device(self.perceptual, made), made, target, batch["corners"])
            losses |= {"local_l1": w.local_l1 * l1, f"local_{self.perceptual.name}": w.local_perceptual * seen}
        if int(batch["step"]) >= w.adversarial_from:
            logits, fake = model.discriminator(made)
            with torch.no_grad():
                _, real = model.discriminator(target)
            losses["adversarial"] = -w.adversarial * logits.float().mean()
            losses["matching"] = w.matching * feature_matching(fake, real)
        return losses

    def _picture_terms(self, made: Tensor, target: Tensor) -> Losses:
        perceptual = on_device(self.perceptual, made)
        losses = {perceptual.name: self.weights.perceptual * perceptual_l1(perceptual, made, target)}
        if not isinstance(perceptual, VGGPerceptual):
            losses["pixel"] = self.weights.pixel * pixel_l1(made, target)
        return losses

    def _discriminator_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        assert isinstance(model, FaceVid2VidModel)
        # it learns a little before it counts, so that its first word is worth something
        if int(batch["step"]) < 0.9 * self.weights.adversarial_from:
            return {"waiting": 0 * torch.stack([p.sum() for p in model.discriminator.parameters()]).sum()}
        real, fake = (model.discriminator(batch[name])[0] for name in ("target", "made"))
        return {"discriminator": hinge_discriminator(real, fake)}

    # -- to look at ----------------------------------------------------------------------------------------------------

    def pictures(self, model: nn.Module) -> Picture:
        """See `Stage.pictures`: rows of source, target, result, and the source turned by 20 degrees.

        They are of people held out, where there are any.
        """
        assert isinstance(model, FaceVid2VidModel)
        batch, portrait = self._fixed(model, _SHOWN, 1, False)
        made = model.f(portrait, model.f.motion(batch["target"])).picture
        own = portrait.motion
        turned = model.f(portrait, own.turned(own.angles + own.angles.new_tensor([_TURN, 0, 0]))).picture
        return sheet([batch["source"], batch["target"], made, turned])

    def clip(self, model: nn.Module) -> list[Picture]:
        """See `Stage.clip`: source, target and result side by side, 8 frames."""
        assert isinstance(model, FaceVid2VidModel)
        batch, portrait = self._fixed(model, 1, _CLIP, True)
        made = model.f(portrait.repeat(_CLIP), model.f.motion(batch["target"])).picture
        return side_by_side([batch["source"].expand(_CLIP, -1, -1, -1), batch["target"], made])

    def _fixed(self, model: FaceVid2VidModel, sources: int, targets: int, clip: bool) -> tuple[Batch, Portrait]:
        data = (open_held_out(self.options) if self.options.dataset.data else None) or self.samples()
        spec = SampleSpec(targets, clip, self.config.image_size)
        drawn = draw_batch(data, np.random.default_rng(101), sources, spec, plain=True)
        batch = {name: value.to(next(model.parameters()).device) for name, value in drawn.items()}
        return batch, model.f.encode(batch["source"])

    def export(self, model: nn.Module, folder: Path) -> None:
        """See `Stage.export`: A folder for `FaceVid2VidPipeline.from_pretrained` and for `--f`, float16."""
        assert isinstance(model, FaceVid2VidModel)
        FaceVid2VidPipeline(model.f.eval().to(torch.float16)).save_pretrained(folder)
