"""The stages of X-Portrait: appearance (R), motion (C), local (C_l) and temporal (M).

At nano size the backbone is trained with R, or with R and C together (`--joint`); at full size it is Stable Diffusion
1.5, loaded from `--backbone` and frozen (X-Portrait, Section 4.1). Presets: `mien.training.x_portrait.recipes`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from mien.errors import InputError
from mien.models.sd_backbone.temporal import TemporalTransformer
from mien.models.x_portrait import NANO, SD15, XPortraitConfig, XPortraitNetworks, build
from mien.training.data.collate import Draw, draw
from mien.training.data.control_images import ControlKind, face_vid2vid
from mien.training.data.mixture import open_pairs
from mien.training.data.types import PairData, Wish
from mien.training.engine.checkpoints import fill
from mien.training.engine.config import TrainOptions
from mien.training.engine.stage import Batch, Picture, Stage, Terms, Turn
from mien.training.x_portrait import model as portrait_model
from mien.training.x_portrait.losses import (
    Conditions,
    draw_timesteps,
    predict_clean,
    read_appearance,
    residuals_of,
    sample,
    scheduler_for,
    start_latents,
    teaching_loss,
)
from mien.training.x_portrait.model import BACKBONE, PortraitModel
from mien.training.x_portrait.motion_supervision import REGIONS, region_loss
from mien.training.x_portrait.recipes import PAPER_LOOP, PRESET_OF_SIZE, Plan, plan_for

_LOOK_STEPS = {"sample": 2, "epsilon": 20}  # denoising steps of the pictures to look at
_LOOK_SCALE = {"sample": 1.0, "epsilon": 5.0}  # guidance, where there is an unconditional branch to guide from


class PortraitStage(Stage):
    """One stage of X-Portrait. kind: appearance, motion, local or temporal."""

    def __init__(
        self,
        kind: str,
        options: TrainOptions,
        config: XPortraitConfig | None = None,
        data: PairData | None = None,
        plan: Plan | None = None,
    ) -> None:
        """config, data, plan: None: as the options say. Raises InputError where they do not suffice."""
        self.name, self.kind, self.options = f"x-portrait/{kind}", kind, options
        self.plan = plan or plan_for(kind, options)
        self.config = config or self._config()
        self.side = self.config.image_size
        self.steps, self.rows, self.accumulate = self.plan.steps, self.plan.rows, self.plan.accumulate
        if (options.preset or PRESET_OF_SIZE[options.size]) == "sd15-paper":
            self.warmup, self.ema, self.checkpointing = PAPER_LOOP
        self.scheduler = scheduler_for(self.config.prediction_type)
        reenact = face_vid2vid(options.f) if options.control_source == "face-vid2vid" else None
        self.control = ControlKind(options.control_source, options.control == "landmarks", options.scaling, reenact)
        self.data = data
        self.turns = (Turn(kind, self._learning(), self.plan.learning_rate, self.loss, self.plan.betas),)

    def _config(self) -> XPortraitConfig:
        if self.options.size == "nano":
            return NANO
        return SD15 if self.options.backbone is None else portrait_model.config_of(Path(self.options.backbone))

    def _learning(self) -> tuple[str, ...]:
        teaches = self.plan.teach > 0 and "motion_control" in self.plan.trained
        return (*self.plan.trained, "motion_head") if teaches else self.plan.trained

    def pairs(self) -> PairData:
        """The data, opened on first use."""
        if self.data is None:
            self.data = open_pairs(self.options)
        return self.data

    def wish(self, rows: int) -> Wish:
        """What a batch of so many sources is to be."""
        patches = "local_control" in self.plan.present
        size = min(self.plan.size or self.side, self.side)
        start = self.options.reenactor is not None
        return Wish(rows, self.plan.frames, size, self.side, self.plan.clip, patches, self.control, start)

    # -- networks ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """See `Stage.check`."""
        if self.options.size == "full" and self.options.backbone is None:
            raise InputError("--size full needs --backbone: a local diffusers folder of Stable Diffusion 1.5.")
        self.pairs()

    def build(self) -> nn.Module:
        """See `Stage.build`; nano: drawn from the seed, with the VAE of `--vae`; full: from the backbone."""
        options = self.options
        if options.size == "full":
            assert options.backbone is not None
            model = portrait_model.from_backbone(Path(options.backbone), options.seed, self.config)
            if options.precision == "bf16":  # what is loaded anew each time and never learns can be small
                for part in self.outside():
                    getattr(model, part).to(torch.bfloat16)
            return model
        model = portrait_model.fresh(options.seed, self.config)
        if options.vae is not None:
            portrait_model.take_vae(model, Path(options.vae))
            fixed = draw(self.pairs(), np.random.default_rng(0), replace(self.wish(4), frames=4, size=self.side))
            portrait_model.measure_scale(model, fixed.target)
        if options.reenactor is not None:
            portrait_model.take_reenactor(model, Path(options.reenactor))
        return model

    def sketch(self) -> tuple[nn.Module, Batch]:
        """See `Stage.sketch`."""
        with torch.device("meta"):
            return PortraitModel(build(self.config)), self._empty_batch()

    def _empty_batch(self) -> Batch:
        wish = self.wish(self.options.rows or self.rows)
        count, cells = wish.sources * wish.frames, wish.size // 8
        batch = {name: torch.empty(count, 3, wish.size, wish.size) for name in ("target", "control", "patches")}
        batch["source"] = torch.empty(wish.sources, 3, wish.size, wish.size)
        batch["weight"] = torch.empty(count, 1, cells, cells)
        return {**batch, "regions": torch.empty(count, REGIONS, cells, cells)}

    def outside(self) -> tuple[str, ...]:
        """The backbone, where it is frozen and comes from a folder, and the reenactor."""
        frozen = tuple(part for part in BACKBONE if part not in self.plan.trained)
        backbone = frozen if self.options.size == "full" else ()
        return backbone if self.options.reenactor is None else (*backbone, "reenactor")

    def start(self, model: nn.Module, place: Path) -> None:
        """A run, an exported pipeline folder, or a run of the first scripts."""
        assert isinstance(model, PortraitModel)
        fill(model, portrait_model.read_start(place, model), self.outside())

    def block_types(self) -> tuple[type[nn.Module], ...]:
        """Residual blocks and transformer blocks."""
        return (ResnetBlock2D, BasicTransformerBlock, TemporalTransformer)

    # -- data and loss -----------------------------------------------------------------------------------------------

    def at_step(self, step: int) -> None:
        """See `Stage.at_step`."""
        self.pairs().at_step(step)

    def refresh(self) -> None:
        """Groups that have been rendered since are taken in."""
        self.pairs().refresh()

    def batch(self, rng: np.random.Generator, rows: int) -> Batch:
        """`rows` sources with the plan's frames each."""
        return draw(self.pairs(), rng, self.wish(rows)).batch()

    def images(self, batch: Batch) -> int:
        """Targets."""
        return len(batch["target"])

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        """|eps - eps'|^2, or |x0 - x0'|^2 at nano size, weighted towards the face; and the motion supervision."""
        assert isinstance(model, PortraitModel)
        plan, given = self.plan, Draw.of(batch)
        nets = model.networks(plan.present)
        if plan.only_teach:
            return {"teach": teaching_loss(model, nets, given, self.scheduler, generator)}
        source, clean = model.encode(given.source), model.encode(given.target)
        times = draw_timesteps(len(source), plan.noise_power, generator).to(clean.device)
        per_frame = times.repeat_interleave(plan.frames)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        noisy = self.scheduler.add_noise(clean, noise, per_frame)
        start = start_latents(model, given)
        conditions = self._conditions(nets, given, source, noisy, times)
        if start is not None:
            conditions = replace(conditions, beside=start)
        made, eps = predict_clean(nets, self.scheduler, noisy, per_frame, conditions)
        error = (eps - noise) if self.config.prediction_type == "epsilon" else (made - clean)
        weight = given.weight / given.weight.mean() if plan.face_weight else torch.ones_like(given.weight)
        terms = {"denoise": (error.square() * weight).mean()}
        if "motion_head" in self._learning() and conditions.residuals is not None:
            terms["teach"] = plan.teach * region_loss(model.motion_head(conditions.residuals), given.regions)
        return terms

    def _conditions(
        self, nets: XPortraitNetworks, given: Draw, source: Tensor, noisy: Tensor, times: Tensor
    ) -> Conditions:
        plan = self.plan
        per_frame = times.repeat_interleave(plan.frames)
        shown = self.scheduler.scale_model_input(noisy, per_frame)
        bank = read_appearance(nets, source, times, "appearance_reference" in plan.trained)
        residuals = residuals_of(nets, given, shown, per_frame, plan.present)
        return Conditions(bank, residuals, source, plan.frames)

    # -- to look at --------------------------------------------------------------------------------------------------

    def pictures(self, model: nn.Module) -> Picture:
        """Four rows of source, control, made, target."""
        return self._look(model, replace(self.wish(4), frames=1, size=self.side, clip=False), seed=101)[0]

    def clip(self, model: nn.Module) -> list[Picture] | None:
        """Control, made and target side by side, 8 frames."""
        if "motion_control" not in self.plan.present:
            return None
        frames = min(8, self.plan.frames) if self.plan.clip else 8
        return self._look(model, replace(self.wish(1), frames=frames, size=self.side, clip=True), seed=102)

    def _look(self, model: nn.Module, wish: Wish, seed: int) -> list[Picture]:
        assert isinstance(model, PortraitModel)
        device = model.latent_scale.device
        fixed = draw(self.pairs(), np.random.default_rng(seed), wish)
        given = Draw(**{name: value.to(device) for name, value in fixed.batch().items()})
        kind = self.config.prediction_type
        present = self.plan.present
        if not self.plan.clip or not wish.clip:
            present = tuple(part for part in present if part != "temporal")
        steps, scale = self.look_sampling(kind)
        made = sample(model, present, given, steps, scale, scheduler_for(kind))
        columns = [given.source.repeat_interleave(wish.frames, 0), given.control, made, given.target]
        rows = torch.cat([_bytes(column) for column in columns], dim=2).cpu().numpy()  # [n, h, 4 w, 3]
        return [np.concatenate(list(rows))] if not wish.clip else list(rows)

    def look_sampling(self, kind: str) -> tuple[int, float]:
        """Denoising steps and guidance of the pictures to look at."""
        return _LOOK_STEPS[kind], _LOOK_SCALE[kind]

    def export(self, model: nn.Module, folder: Path) -> None:
        """A folder for `XPortraitPipeline.from_pretrained`, without the parts that the stage does not have."""
        from mien.training.x_portrait.export import to_pipeline

        assert isinstance(model, PortraitModel)
        to_pipeline(model, self.config, self.plan.present).save_pretrained(folder)


def _bytes(pictures: Tensor) -> Tensor:
    """[n, 3, h, w] in [-1, 1] to uint8 [n, h, w, 3]."""
    return ((pictures.permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
