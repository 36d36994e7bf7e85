"""Stage `dex/motion`: DeX-Portrait's motion trainer, which learns what a pose and an expression are.

    mien train dex/motion --data AVATARS --out runs/dex-motion --size nano

One source drives four pictures of the same person (supplement, B.2). What the stage leaves for inference are the two
encoders.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.models.dex_portrait import FULL, NANO, DeXPortraitConfig, Pose
from mien.models.dex_portrait.discriminator import Discriminator
from mien.models.dex_portrait.expression_encoder import ExpressionEncoder
from mien.models.dex_portrait.motion_trainer import MotionGenerator
from mien.models.dex_portrait.pose_encoder import PoseEncoder
from mien.training.dex_portrait.data import Augmentation, SceneBatches, SceneData, open_scenes
from mien.training.dex_portrait.losses import (
    Perceptual,
    PyramidPerceptual,
    VGGPerceptual,
    anchor_distance,
    discriminator_adversarial,
    generator_adversarial,
    gradient_penalty,
    perceptual_distances,
)
from mien.training.dex_portrait.sheets import grid
from mien.training.engine.config import TrainOptions
from mien.training.engine.stage import Batch, Picture, Stage, Terms, Turn

logger = logging.getLogger(__name__)

PRESETS = ("paper", "no-augmentation")


@dataclass(frozen=True)
class MotionWeights:
    """Weights of the losses; the first four are the paper's (supplement, Eq. 5), the rest ours.

    adversarial_from: the step at which D begins to count; r1, r1_every: its lazy regulariser. anchor: falls to
    anchor_floor over anchor_steps. agreement: 1 - cosine of the codes of two roughened crops of one expression.
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


class DexMotion(Stage):
    """The generator's turn and the discriminator's."""

    name = "dex/motion"

    def __init__(
        self,
        options: TrainOptions,
        data: Sequence[tuple[SceneData, float]] | None = None,
        config: DeXPortraitConfig | None = None,
        weights: MotionWeights | None = None,
        perceptual: Perceptual | None = None,
    ) -> None:
        """data, config, weights, perceptual: in place of what the options say.

        Options: `size`, and `preset`: "paper" or the ablation "no-augmentation". `vgg` names VGG16's weights
        (.safetensors); without it the distance is `PyramidPerceptual`, and the log says so.
        """
        preset = options.preset or "paper"
        if preset not in PRESETS:
            raise InputError(f"--preset is {preset}: give one of {', '.join(PRESETS)} or supervised for {self.name}.")
        nano = options.size == "nano"
        self.options, self.config = options, config or (NANO if nano else FULL)
        self.weights = weights or (NANO_WEIGHTS if nano else MotionWeights())
        self.steps, self.rows = (20_000, 4) if nano else (200_000, 28)
        self.ema = 0.999
        self.perceptual = perceptual or choose_perceptual(options.vgg)
        side = self.config.motion.image_size
        scenes = data if data is not None else open_scenes(options, side)
        self.augmentation = Augmentation(off=preset == "no-augmentation")
        self.batches = SceneBatches(scenes, self.config, side, self.augmentation)
        rate, betas = options.learning_rate or (4e-4 if nano else 1e-4), (0.0, 0.99)
        parts = ("pose_encoder", "expression_encoder", "generator")
        self.turns = (
            Turn("generator", parts, rate, self._generator_loss, betas, weight_decay=0.0),
            Turn("discriminator", ("discriminator",), rate, self._discriminator_loss, betas, weight_decay=0.0),
        )
        self._step = 0

    def build(self) -> nn.Module:
        """Random weights."""
        torch.manual_seed(self.options.seed)
        return MotionModel(self.config)

    def at_step(self, step: int) -> None:
        """Passed on to the data, and kept for the schedules of the weights."""
        self._step = step
        for data, _ in self.batches.data:
            data.at_step(step)

    def batch(self, rng: np.random.Generator, rows: int) -> Batch:
        """`rows` sources with four drivers each; see `SceneBatches.draw`."""
        return {**self.batches.draw(rng, rows), "step": torch.tensor(self._step)}

    def images(self, batch: Batch) -> int:
        """Targets that are made."""
        return len(batch["target"])

    def refresh(self) -> None:
        """Look for new groups."""
        for data, _ in self.batches.data:
            data.refresh()

    def _generator_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        w, step, target = self.weights, int(batch["step"]), batch["target"]
        assert isinstance(model, MotionModel)
        source_code, code = model.pose_encoder(batch["source_masked"]), model.pose_encoder(batch["masked"])
        expression = model.expression_encoder(batch["crop"])
        made = model.generator(batch["source"], Pose.from_code(source_code), Pose.from_code(code), expression).float()
        batch["made"] = made.detach()
        whole, face = perceptual_distances(self.perceptual_on(made), made, target, batch["mask"])
        truth = torch.cat([batch["source_pose"], batch["pose"]])
        terms = {
            "l1": w.l1 * (made - target).abs().mean(),
            self.perceptual.name: w.perceptual * whole,
            f"face_{self.perceptual.name}": w.face * face,
            "anchor": self.anchor_weight(step) * anchor_distance(torch.cat([source_code, code]), truth),
        }
        if w.agreement:
            again = model.expression_encoder(batch["again"])
            terms["agreement"] = w.agreement * (1 - torch.cosine_similarity(expression, again)).mean()
        if step >= w.adversarial_from:
            terms["adversarial"] = w.adversarial * generator_adversarial(model.discriminator(made))
        return terms

    def _discriminator_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        w, step = self.weights, int(batch["step"])
        assert isinstance(model, MotionModel)
        # it learns a little before it counts, so that its first word is worth something
        if step < 0.9 * w.adversarial_from:
            return {"waiting": 0 * torch.stack([p.sum() for p in model.discriminator.parameters()]).sum()}
        real, fake = model.discriminator(batch["target"]), model.discriminator(batch["made"])
        terms = {"discriminator": discriminator_adversarial(real, fake)}
        if step % w.r1_every == 0:
            terms["r1"] = 0.5 * w.r1 * w.r1_every * gradient_penalty(model.discriminator, batch["target"])
        return terms

    def anchor_weight(self, step: int) -> float:
        """Of the pose's anchor at a step: strong at first, weak later."""
        w = self.weights
        return max(w.anchor_floor, w.anchor - (w.anchor - w.anchor_floor) * step / max(w.anchor_steps, 1))

    def perceptual_on(self, like: Tensor) -> Perceptual:
        """The perceptual distance on a tensor's device."""
        if isinstance(self.perceptual, nn.Module):
            self.perceptual.to(like.device)
        return self.perceptual

    def pictures(self, model: nn.Module) -> Picture:
        """Rows of source, driver, result, driven by the pose alone, driven by the expression alone."""
        assert isinstance(model, MotionModel)
        plain = replace(self.augmentation, rotated=0.0, other_view=0.0, jitter=0.0, tint=0.0)
        batches = SceneBatches(self.batches.data, self.config, self.config.motion.image_size, plain)
        device = next(model.parameters()).device
        batch = {name: value.to(device) for name, value in batches.draw(np.random.default_rng(0), 6, 1).items()}
        own, driving = model.pose_encoder.pose(batch["source_masked"]), model.pose_encoder.pose(batch["masked"])
        own_face, face = model.expression_encoder(batch["source_crop"]), model.expression_encoder(batch["crop"])
        columns = [batch["source"], batch["target"]]
        columns += [
            model.generator(batch["source"], own, pose, code)
            for pose, code in ((driving, face), (driving, own_face), (own, face))
        ]
        return grid(columns)

    def export(self, model: nn.Module, folder: Path) -> None:
        """The two encoders, as a pipeline folder holds them."""
        assert isinstance(model, MotionModel)
        model.pose_encoder.save_pretrained(folder / "pose_encoder")
        model.expression_encoder.save_pretrained(folder / "expression_encoder")


def choose_perceptual(weights: str | None) -> Perceptual:
    """VGG16's features from a file; without one the pyramid, told by name in the log and in the losses' names."""
    if weights is not None:
        return VGGPerceptual(Path(weights))
    logger.warning("no VGG16 weights were given: the perceptual losses are those of the pyramid, not LPIPS")
    return PyramidPerceptual()
