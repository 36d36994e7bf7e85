"""Stage `dex/motion`: DeX-Portrait's motion trainer, which learns what a pose and an expression are.

    mien train dex/motion --data AVATARS --out runs/dex-motion --size nano

One source drives four pictures of the same person (supplement, B.2). What the stage leaves for inference are the two
encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mien.models.dex_portrait import FULL, NANO, DeXPortraitConfig, Pose
from mien.models.dex_portrait.discriminator import Discriminator
from mien.models.dex_portrait.expression_encoder import ExpressionEncoder
from mien.models.dex_portrait.motion_trainer import MotionGenerator
from mien.models.dex_portrait.pose_encoder import PoseEncoder
from mien.training.data.samples import SampleSource
from mien.training.data.stage import SampleStage
from mien.training.dex_portrait.collate import Augmentation, Collate
from mien.training.dex_portrait.losses import (
    anchor_distance,
    discriminator_adversarial,
    generator_adversarial,
    gradient_penalty,
    perceptual_distances,
)
from mien.training.engine.config import SIZES, StageConfig, check_preset, option
from mien.training.engine.stage import Batch, Losses, OptimizerStep
from mien.training.latent_diffusion import sheet
from mien.training.perceptual import Perceptual, choose_perceptual, on_device
from mien.typing import Picture

PRESETS = ("paper", "no-augmentation")


@dataclass(frozen=True)
class MotionWeights:
    """Weights of the losses; the first four are the paper's (supplement, Eq. 5), the rest ours.

    Attributes:
        l1, perceptual, face, adversarial: of pictures, features, features of the face, and the discriminator's verdict.
        adversarial_from: the step at which the discriminator begins to count.
        r1, r1_every: its lazy regulariser, and how often it is taken.
        anchor, anchor_floor, anchor_steps: of the pose's distance to the exact one, which falls to the floor.
        agreement: of 1 - cosine of the codes of two augmented crops of one expression.
    """

    l1: float = 10.0
    perceptual: float = 1.0
    face: float = 100.0
    adversarial: float = 1.0
    adversarial_from: int = 10_000
    r1: float = 10.0
    r1_every: int = 16
    anchor: float = 1.0
    anchor_floor: float = 0.1
    anchor_steps: int = 10_000
    agreement: float = 0.0


NANO_WEIGHTS = MotionWeights(
    adversarial=0.1, adversarial_from=4_000, anchor_floor=0.5, anchor_steps=4_000, agreement=0.5
)


class MotionModel(nn.Module):
    """Encoders, generator and discriminator under one roof."""

    def __init__(self, config: DeXPortraitConfig) -> None:
        super().__init__()
        self.pose_encoder = PoseEncoder(**config.pose_encoder())
        self.expression_encoder = ExpressionEncoder(**config.expression_encoder())
        self.generator = MotionGenerator(config)
        self.discriminator = Discriminator(config.motion.discriminator_channels)


@dataclass(frozen=True)
class MotionConfig(StageConfig):
    """Of the encoders."""

    size: str = option("nano", "nano or full.", choices=SIZES)
    preset: str = option("paper", "paper, or an ablation: no-augmentation.", choices=PRESETS)
    vgg: str | None = option(None, "VGG16's weights (.safetensors) for the perceptual losses.")


class DexMotion(SampleStage):
    """Generator and discriminator."""

    name = "dex/motion"
    options: MotionConfig

    def __init__(
        self,
        options: MotionConfig,
        data: SampleSource | None = None,
        config: DeXPortraitConfig | None = None,
        weights: MotionWeights | None = None,
        perceptual: Perceptual | None = None,
    ) -> None:
        """data, config, weights, perceptual: in place of what the options say.

        Without VGG16's weights the distance is `PyramidPerceptual`, and the log says so.
        """
        preset = check_preset(options, options.preset, PRESETS)
        nano = options.size == "nano"
        self.options, self.config = options, config or (NANO if nano else FULL)
        self.weights = weights or (NANO_WEIGHTS if nano else MotionWeights())
        self.steps, self.batch_size = (20_000, 4) if nano else (200_000, 28)
        self.ema = 0.999
        self.perceptual = perceptual or choose_perceptual(options.vgg)
        self.data = data
        self.collate = Collate(
            self.config, self.config.motion.image_size, Augmentation(off=preset == "no-augmentation")
        )
        rate, betas = options.loop.learning_rate or (4e-4 if nano else 1e-4), (0.0, 0.99)
        parts = ("pose_encoder", "expression_encoder", "generator")
        self.optimizer_steps = (
            OptimizerStep("generator", parts, rate, self._generator_loss, betas, weight_decay=0.0),
            OptimizerStep("discriminator", ("discriminator",), rate, self._discriminator_loss, betas, weight_decay=0.0),
        )
        self._step = 0

    def build(self) -> nn.Module:
        """Random weights."""
        torch.manual_seed(self.options.loop.seed)
        return MotionModel(self.config)

    def at_step(self, step: int) -> None:
        """See `Stage.at_step`: passed on to the data, and kept for the schedules of the weights."""
        self._step = step
        super().at_step(step)

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """See `Stage.batch`: `batch_size` sources with four drivers each, as `Collate` makes them."""
        return {**self.collate.draw(self.samples(), rng, batch_size), "step": torch.tensor(self._step)}

    def images(self, batch: Batch) -> int:
        """See `Stage.images`: targets that are made."""
        return len(batch["target"])

    def _generator_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        w, step, target = self.weights, int(batch["step"]), batch["target"]
        assert isinstance(model, MotionModel)
        source_code, code = model.pose_encoder(batch["source_masked"]), model.pose_encoder(batch["masked"])
        expression = model.expression_encoder(batch["crop"])
        made = model.generator(batch["source"], Pose.from_code(source_code), Pose.from_code(code), expression).float()
        batch["made"] = made.detach()
        whole, face = perceptual_distances(on_device(self.perceptual, made), made, target, batch["mask"])
        ground_truth = torch.cat([batch["source_pose"], batch["pose"]])
        losses = {
            "l1": w.l1 * (made - target).abs().mean(),
            self.perceptual.name: w.perceptual * whole,
            f"face_{self.perceptual.name}": w.face * face,
            "anchor": self.anchor_weight(step) * anchor_distance(torch.cat([source_code, code]), ground_truth),
        }
        if w.agreement:
            again = model.expression_encoder(batch["again"])
            losses["agreement"] = w.agreement * (1 - torch.cosine_similarity(expression, again)).mean()
        if step >= w.adversarial_from:
            losses["adversarial"] = w.adversarial * generator_adversarial(model.discriminator(made))
        return losses

    def _discriminator_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        w, step = self.weights, int(batch["step"])
        assert isinstance(model, MotionModel)
        # it learns a little before it counts, so that its first word is worth something
        if step < 0.9 * w.adversarial_from:
            return {"waiting": 0 * torch.stack([p.sum() for p in model.discriminator.parameters()]).sum()}
        real, fake = model.discriminator(batch["target"]), model.discriminator(batch["made"])
        losses = {"discriminator": discriminator_adversarial(real, fake)}
        if step % w.r1_every == 0:
            losses["r1"] = 0.5 * w.r1 * w.r1_every * gradient_penalty(model.discriminator, batch["target"])
        return losses

    def anchor_weight(self, step: int) -> float:
        """Weight of the pose's anchor: strong at first, weak later.

        Args:
            step: of the training, from 0.

        Returns:
            Between `MotionWeights.anchor` and its floor.
        """
        w = self.weights
        return max(w.anchor_floor, w.anchor - (w.anchor - w.anchor_floor) * step / max(w.anchor_steps, 1))

    def pictures(self, model: nn.Module) -> Picture:
        """See `Stage.pictures`: rows of source, driver, result, driven by the pose alone, by the expression alone."""
        assert isinstance(model, MotionModel)
        plain = replace(self.collate, augmentation=self.collate.augmentation.none())
        device, drawn = next(model.parameters()).device, plain.draw(self.samples(), np.random.default_rng(0), 6, 1)
        batch = {name: value.to(device) for name, value in drawn.items()}
        own, driving = model.pose_encoder.pose(batch["source_masked"]), model.pose_encoder.pose(batch["masked"])
        own_face, face = model.expression_encoder(batch["source_crop"]), model.expression_encoder(batch["crop"])
        columns = [batch["source"], batch["target"]]
        columns += [
            model.generator(batch["source"], own, pose, code)
            for pose, code in ((driving, face), (driving, own_face), (own, face))
        ]
        return sheet(columns)

    def export(self, model: nn.Module, folder: Path) -> None:
        """See `Stage.export`: the two encoders, as a pipeline folder holds them."""
        assert isinstance(model, MotionModel)
        model.pose_encoder.save_pretrained(folder / "pose_encoder")
        model.expression_encoder.save_pretrained(folder / "expression_encoder")
