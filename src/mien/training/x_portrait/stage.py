"""The stages of X-Portrait: appearance (R), motion (C), local (C_l) and temporal (M).

At nano size the backbone is trained with R, or with R and C together (`--joint`); at full size it is Stable Diffusion
1.5, loaded from `--backbone` and frozen (X-Portrait, Section 4.1). Presets: `mien.training.x_portrait.recipes`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from mien.errors import InputError
from mien.models.sd_backbone.temporal import TemporalTransformer
from mien.models.x_portrait import NANO, SD15, XPortraitConfig, XPortraitNetworks, build
from mien.options import Checked
from mien.training.data.samples import SampleSource
from mien.training.data.stage import SampleStage
from mien.training.engine.checkpoints import fill
from mien.training.engine.config import SIZES, StageConfig, component, option
from mien.training.engine.stage import Batch, Losses, OptimizerStep
from mien.training.latent_diffusion import WEIGHTS_FILE, side_by_side
from mien.training.x_portrait import model as portrait_model
from mien.training.x_portrait.collate import BatchSpec, TrainingBatch, draw_batch
from mien.training.x_portrait.control_images import ControlKind, face_vid2vid
from mien.training.x_portrait.losses import (
    DenoisingConditions,
    draw_timesteps,
    motion_supervision_loss,
    predict_clean,
    read_appearance,
    residuals_of,
    sample,
    scheduler_for,
)
from mien.training.x_portrait.model import BACKBONE, PortraitModel
from mien.training.x_portrait.motion_supervision import REGIONS, region_loss
from mien.training.x_portrait.recipes import PAPER_LOOP, PRESET_OF_SIZE, PRESETS, StageRecipe, recipe_for
from mien.typing import Picture

_LOOK_STEPS = {"sample": 2, "epsilon": 20}  # denoising steps of the pictures to look at
_LOOK_SCALE = {"sample": 1.0, "epsilon": 5.0}  # guidance, where there is an unconditional branch to guide from


@dataclass(frozen=True)
class ControlConfig(Checked):
    """What the motion controls are shown, see `control_images`."""

    control_source: str = option(
        "avatars", "avatars, face-vid2vid or self (ablation a).", choices=("avatars", "face-vid2vid", "self")
    )
    control: str = option("image", "image, or landmarks (baseline).", choices=("image", "landmarks"))
    scaling: bool = option(True, "Heterogeneous scaling (off: ablation c).")
    f: str | None = option(None, "A folder with Face Vid2Vid.")


@dataclass(frozen=True)
class MotionSupervisionConfig(Checked):
    """See `motion_supervision`."""

    motion_supervision_weight: float | None = option(None, "Weight of the motion supervision; 0: none.", least=0)
    only_motion_supervision: bool = option(False, "Nothing but it.")


@dataclass(frozen=True)
class PortraitStageConfig(StageConfig):
    """What all stages of X-Portrait know."""

    size: str = option("nano", "nano or full.", choices=SIZES)
    preset: str | None = option(None, "nano or sd15-paper; usually as the size says.", choices=tuple(PRESETS))
    vae: str | None = option(None, "A run of the stage vae (nano, first stage).")
    backbone: str | None = option(None, "A local diffusers folder of Stable Diffusion 1.5 (full).")
    local: bool = option(True, "A local control (off: ablation b).")
    window: int | None = option(None, "Side of the pieces trained on.", unit="pixels", least=8)
    frames: int | None = option(None, "Targets of a source.", least=1)
    controls: ControlConfig = component(ControlConfig)


@dataclass(frozen=True)
class TemporalStageConfig(PortraitStageConfig):
    """Of M."""

    joint: bool = option(False, "Train backbone, R and C together.")


@dataclass(frozen=True)
class MotionStageConfig(TemporalStageConfig):
    """Of C and C_l."""

    motion_supervision: MotionSupervisionConfig = component(MotionSupervisionConfig)


class PortraitStage(SampleStage):
    """One stage of X-Portrait: appearance, motion, local or temporal, as the config's name says."""

    options: PortraitStageConfig

    def __init__(
        self,
        options: PortraitStageConfig,
        config: XPortraitConfig | None = None,
        data: SampleSource | None = None,
        recipe: StageRecipe | None = None,
    ) -> None:
        """config, data, plan: None: as the options say. Raises InputError where they do not suffice."""
        self.name, self.options, kind = options.stage, options, options.stage.partition("/")[2]
        self.recipe = recipe or recipe_for(options)
        self.config = config or self._config()
        self.side = self.config.image_size
        self.steps, self.batch_size, self.accumulate = self.recipe.steps, self.recipe.batch_size, self.recipe.accumulate
        if (options.preset or PRESET_OF_SIZE[options.size]) == "sd15-paper":
            self.warmup, self.ema, self.checkpointing = PAPER_LOOP
        self.scheduler = scheduler_for(self.config.prediction_type)
        shown = options.controls
        reenact = face_vid2vid(shown.f) if shown.control_source == "face-vid2vid" else None
        self.control = ControlKind(shown.control_source, shown.control == "landmarks", shown.scaling, reenact)
        self.data = data
        self.optimizer_steps = (
            OptimizerStep(kind, self._learning(), self.recipe.learning_rate, self.loss, self.recipe.betas),
        )

    def _config(self) -> XPortraitConfig:
        if self.options.size == "nano":
            return NANO
        return SD15 if self.options.backbone is None else portrait_model.config_of(Path(self.options.backbone))

    def _learning(self) -> tuple[str, ...]:
        supervises = self.recipe.motion_supervision_weight > 0 and "motion_control" in self.recipe.trained
        return (*self.recipe.trained, "motion_head") if supervises else self.recipe.trained

    def batch_spec(self, batch_size: int) -> BatchSpec:
        """What a batch is to be.

        Args:
            batch_size: how many sources.

        Returns:
            The specification.
        """
        patches = "local_control" in self.recipe.present
        size = min(self.recipe.size or self.side, self.side)
        return BatchSpec(batch_size, self.recipe.frames, size, self.side, self.recipe.clip, patches, self.control)

    # -- networks ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """See `Stage.check`."""
        if self.options.size == "full" and self.options.backbone is None:
            raise InputError("--size full needs --backbone: a local diffusers folder of Stable Diffusion 1.5.")
        super().check()

    def build(self) -> nn.Module:
        """See `Stage.build`; nano: drawn from the seed, with the VAE of `--vae`; full: from the backbone."""
        options = self.options
        if options.size == "full":
            assert options.backbone is not None
            # what is loaded anew each time and never learns can be small
            half = self.outside() if options.loop.precision == "bf16" else ()
            return portrait_model.from_backbone(
                Path(options.backbone), options.loop.seed, self.config, self.unused(), half
            )
        model = portrait_model.fresh(options.loop.seed, self.config, self.unused())
        if options.vae is not None:
            known = model.take_vae(Path(options.vae))
            fixed = draw_batch(
                self.samples(), np.random.default_rng(0), replace(self.batch_spec(4), frames=4, size=self.side)
            )
            if not known:
                model.measure_scale(fixed.target)
        return model

    def sketch(self) -> tuple[nn.Module, Batch]:
        """See `Stage.sketch`."""
        with torch.device("meta"):
            return PortraitModel(build(self.config), self.unused()), self._empty_batch()

    def _empty_batch(self) -> Batch:
        spec = self.batch_spec(self.options.loop.batch_size or self.batch_size)
        count, cells = spec.sources * spec.frames, spec.size // 8
        batch = {name: torch.empty(count, 3, spec.size, spec.size) for name in ("target", "control", "patches")}
        batch["source"] = torch.empty(spec.sources, 3, spec.size, spec.size)
        batch["weight"] = torch.empty(count, 1, cells, cells)
        return {**batch, "regions": torch.empty(count, REGIONS, cells, cells)}

    def outside(self) -> tuple[str, ...]:
        """See `Stage.outside`: the backbone, where it is frozen and comes from a folder."""
        frozen = tuple(part for part in BACKBONE if part not in self.recipe.trained)
        return frozen if self.options.size == "full" else ()

    def loaded_anew(self) -> dict[str, Path]:
        """See `Stage.loaded_anew`."""
        if self.options.backbone is None:
            return {}
        files = {part: Path(self.options.backbone) / part / WEIGHTS_FILE for part in ("vae", "unet")}
        return {part: file for part, file in files.items() if part in self.outside() and file.is_file()}

    def unused(self) -> tuple[str, ...]:
        """See `Stage.unused`: the controls and temporal modules that the stage does not have."""
        return tuple(part for part in portrait_model.OPTIONAL if part not in self.recipe.present)

    def handed_on(self, place: Path) -> dict[str, Tensor]:
        """See `Stage.handed_on`."""
        return portrait_model.parts_of(place, self.unused())

    def halved(self) -> tuple[str, ...]:
        """See `Stage.halved`: at full size all that does not learn, the VAE included."""
        if self.options.size != "full":
            return ()
        learning = self.optimizer_steps[0].parts
        return tuple(p for p in portrait_model.PARTS if p not in learning and p not in self.unused())

    def start(self, model: nn.Module, place: Path) -> None:
        """See `Stage.start`: A run, or an exported pipeline folder."""
        assert isinstance(model, PortraitModel)
        fill(model, portrait_model.read_start(place, model), (*self.outside(), *self.unused()))

    def block_types(self) -> tuple[type[nn.Module], ...]:
        """See `Stage.block_types`: residual blocks and transformer blocks."""
        return (ResnetBlock2D, BasicTransformerBlock, TemporalTransformer)

    # -- data and loss -----------------------------------------------------------------------------------------------

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """See `Stage.batch`: `batch_size` sources with the plan's frames each."""
        return draw_batch(self.samples(), rng, self.batch_spec(batch_size)).batch()

    def images(self, batch: Batch) -> int:
        """See `Stage.images`: targets."""
        return len(batch["target"])

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """|eps - eps'|^2, or |x0 - x0'|^2 at nano size, weighted towards the face; and the motion supervision."""
        assert isinstance(model, PortraitModel)
        recipe, given = self.recipe, TrainingBatch.of(batch)
        nets = model.networks(recipe.present)
        if recipe.only_motion_supervision:
            return {"motion_supervision": motion_supervision_loss(model, nets, given, self.scheduler, generator)}
        source, clean = model.encode(given.source), model.encode(given.target)
        times = draw_timesteps(len(source), recipe.noise_power, generator).to(clean.device)
        per_frame = times.repeat_interleave(recipe.frames)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        noisy = self.scheduler.add_noise(clean, noise, per_frame)
        conditions = self._conditions(nets, given, source, noisy, times)
        made, eps = predict_clean(nets, self.scheduler, noisy, per_frame, conditions)
        error = (eps - noise) if self.config.prediction_type == "epsilon" else (made - clean)
        weight = given.weight / given.weight.mean() if recipe.face_weight else torch.ones_like(given.weight)
        losses = {"denoise": (error.square() * weight).mean()}
        if "motion_head" in self._learning() and conditions.residuals is not None:
            losses["motion_supervision"] = recipe.motion_supervision_weight * region_loss(
                model.motion_head(conditions.residuals), given.regions
            )
        return losses

    def _conditions(
        self, nets: XPortraitNetworks, given: TrainingBatch, source: Tensor, noisy: Tensor, times: Tensor
    ) -> DenoisingConditions:
        recipe = self.recipe
        per_frame = times.repeat_interleave(recipe.frames)
        shown = self.scheduler.scale_model_input(noisy, per_frame)
        reference_features = read_appearance(nets, source, times, "appearance_reference" in recipe.trained)
        residuals = residuals_of(nets, given, shown, per_frame, recipe.present)
        return DenoisingConditions(reference_features, residuals, source, recipe.frames)

    # -- to look at --------------------------------------------------------------------------------------------------

    def pictures(self, model: nn.Module) -> Picture:
        """See `Stage.pictures`: four rows of source, control, made, target."""
        return self._look(model, replace(self.batch_spec(4), frames=1, size=self.side, clip=False), seed=101)[0]

    def clip(self, model: nn.Module) -> list[Picture] | None:
        """See `Stage.clip`: control, made and target side by side, 8 frames."""
        if "motion_control" not in self.recipe.present:
            return None
        frames = min(8, self.recipe.frames) if self.recipe.clip else 8
        return self._look(model, replace(self.batch_spec(1), frames=frames, size=self.side, clip=True), seed=102)

    def _look(self, model: nn.Module, spec: BatchSpec, seed: int) -> list[Picture]:
        assert isinstance(model, PortraitModel)
        device = model.latent_scale.device
        fixed = draw_batch(self.samples(), np.random.default_rng(seed), spec)
        given = TrainingBatch(**{name: value.to(device) for name, value in fixed.batch().items()})
        kind = self.config.prediction_type
        present = self.recipe.present
        if not self.recipe.clip or not spec.clip:
            present = tuple(part for part in present if part != "temporal")
        steps, scale = self.look_sampling(kind)
        made = sample(model, present, given, steps, scale, scheduler_for(kind))
        columns = [given.source.repeat_interleave(spec.frames, 0), given.control, made, given.target]
        rows = side_by_side(columns)
        return [np.concatenate(rows)] if not spec.clip else rows

    def look_sampling(self, kind: str) -> tuple[int, float]:
        """How pictures to look at are sampled.

        Args:
            kind: the prediction type.

        Returns:
            Denoising steps and guidance.
        """
        return _LOOK_STEPS[kind], _LOOK_SCALE[kind]

    def export(self, model: nn.Module, folder: Path) -> None:
        """See `Stage.export`: a folder for `XPortraitPipeline.from_pretrained`, of the parts that the stage has."""
        from mien.training.x_portrait.export import to_pipeline

        assert isinstance(model, PortraitModel)
        to_pipeline(model, self.config, self.recipe.present).save_pretrained(folder)
