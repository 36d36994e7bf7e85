"""Stage `x-portrait/few-step`: latent consistency distillation (Luo et al. 2023), guidance folded in.

The start weights are the teacher: one DDIM step of it, with classifier-free guidance, leads from a noisy latent to a
less noisy one, and the student must say the same clean latent of both (Song et al. 2023, Eq. 10). What it is held to is
a slow copy of itself. The result needs 4 steps or fewer and no unconditional branch.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn

from mien.diffusion import classifier_free
from mien.errors import InputError
from mien.models.x_portrait import XPortraitConfig, XPortraitNetworks
from mien.training.data.samples import SampleSource
from mien.training.engine.checkpoints import fill
from mien.training.engine.config import option
from mien.training.engine.stage import Batch, Losses, OptimizerStep
from mien.training.x_portrait.collate import TrainingBatch
from mien.training.x_portrait.losses import predict_clean
from mien.training.x_portrait.model import BACKBONE, PARTS, PortraitModel, read_start
from mien.training.x_portrait.recipes import StageRecipe
from mien.training.x_portrait.stage import PortraitStage, PortraitStageConfig

_GRID = 50  # timesteps between which the teacher steps: it skips 20 of the 1000 (Luo et al., Section 4.3)
_DATA_SIGMA, _TIME_SCALE = 0.5, 10.0  # diffusers' LCMScheduler samples with the same two
_FOLLOW = 0.95  # of the slow copy (Song et al., Table 2)
_HUBER = 1e-3
_STEPS = 4


class FewStepModel(PortraitModel):
    """Student (the usual parts), slow copy and teacher of the parts that learn."""

    def __init__(self, base: PortraitModel, learning: tuple[str, ...]) -> None:
        nn.Module.__init__(self)
        for name in (*PARTS, "motion_head"):
            setattr(self, name, getattr(base, name))
        self.register_buffer("latent_scale", base.latent_scale)
        self.learning = learning
        self.slow = nn.ModuleDict({part: copy.deepcopy(getattr(base, part)) for part in learning})
        self.teacher = nn.ModuleDict({part: copy.deepcopy(getattr(base, part)) for part in learning})

    def networks_with(self, role: nn.ModuleDict, present: tuple[str, ...]) -> XPortraitNetworks:
        """The networks with the slow copy's or the teacher's parts in place.

        Args:
            role: those parts.
            present: optional parts that the stage has.

        Returns:
            The networks.
        """
        replaced = dict(role.items())
        usual = vars(self.networks(present))
        return XPortraitNetworks(**{name: replaced.get(name, part) for name, part in usual.items()})

    @torch.no_grad()
    def begin(self) -> None:
        """Teacher and slow copy are what the student is now."""
        for role in (self.slow, self.teacher):
            for part in self.learning:
                role[part].load_state_dict(getattr(self, part).state_dict())

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """The slow copy comes a little nearer to the student.

        Args:
            decay: how much of it stays, 0 to 1.
        """
        for part in self.learning:
            student = getattr(self, part).parameters()
            for mine, its in zip(self.slow[part].parameters(), student, strict=True):
                mine.lerp_(its, 1 - decay)


@dataclass(frozen=True)
class FewStepStageConfig(PortraitStageConfig):
    """Of the distillation."""

    guidance: float | None = option(None, "Scale of the guidance that is folded in.", least=1)


class FewStepStage(PortraitStage):
    """Distils U-Net and controls; everything else is shared between student and teacher."""

    def __init__(
        self,
        options: FewStepStageConfig,
        config: XPortraitConfig | None = None,
        data: SampleSource | None = None,
        recipe: StageRecipe | None = None,
    ) -> None:
        super().__init__(options, config, data, recipe)
        # a nano model has no unconditional branch to guide away from; the published script's scale is 5
        usual = 5.0 if self.config.prediction_type == "epsilon" else 1.0
        self.guidance = usual if options.guidance is None else options.guidance
        self.optimizer_steps = (
            OptimizerStep("student", self.recipe.trained, self.recipe.learning_rate, self.loss, self.recipe.betas),
        )

    def check(self) -> None:
        """See `Stage.check`."""
        if self.options.start is None:
            raise InputError("x-portrait/few-step needs --start: the run or the model folder that is to be distilled.")
        super().check()

    def build(self) -> nn.Module:
        """The usual networks with a teacher and a slow copy."""
        base = super().build()
        assert isinstance(base, PortraitModel)
        return FewStepModel(base, self.recipe.trained)

    def sketch(self) -> tuple[nn.Module, Batch]:
        """See `Stage.sketch`."""
        base, batch = super().sketch()
        assert isinstance(base, PortraitModel)
        return FewStepModel(base, self.recipe.trained), batch

    def start(self, model: nn.Module, place: Path) -> None:
        """See `Stage.start`: the student takes the weights; teacher and slow copy are copies of it."""
        assert isinstance(model, FewStepModel)
        extra = ("slow", "teacher")
        own = {name: value for name, value in model.state_dict().items() if name.split(".")[0] not in extra}
        given = read_start(place, model)
        backbone = BACKBONE if self.options.size == "full" else ()  # a run over a frozen backbone does not hold it
        missing = {name: value for name, value in own.items() if name.split(".")[0] in backbone and name not in given}
        weights = {name: value for name, value in given.items() if name.split(".")[0] not in extra}
        fill(model, {**weights, **missing}, (*self.outside(), *self.unused(), *extra))
        model.begin()

    def follows(self) -> tuple[str, ...]:
        """The slow copy."""
        return ("slow",)

    def after_step(self, model: nn.Module, step: int) -> None:
        """See `Stage.after_step`: the slow copy follows."""
        assert isinstance(model, FewStepModel)
        model.follow(_FOLLOW)

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """Pseudo-Huber distance of the student at t to its slow copy one teacher's step below."""
        assert isinstance(model, FewStepModel)
        recipe, given = self.recipe, TrainingBatch.of(batch)
        source, clean = model.encode(given.source), model.encode(given.target)
        skip = 1000 // _GRID
        later = (torch.randint(1, _GRID + 1, (len(source),), generator=generator) * skip - 1).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        t = later.repeat_interleave(recipe.frames)
        earlier = t - skip  # below 0: the clean latent itself
        noisy = self.scheduler.add_noise(clean, noise, t)
        nets = model.networks(recipe.present)
        conditions = self._conditions(nets, given, source, noisy, later)
        made, _ = predict_clean(nets, self.scheduler, noisy, t, conditions)
        made = boundary(noisy, made, t)
        with torch.no_grad():
            below = self._teacher_step(model, given, source, noisy, later, earlier)
            slow = model.networks_with(model.slow, recipe.present)
            at = (later - skip).clamp(min=0)
            held, _ = predict_clean(
                slow, self.scheduler, below, earlier.clamp(min=0), self._conditions(slow, given, source, below, at)
            )
            held = torch.where((earlier < 0).view(-1, 1, 1, 1), below, boundary(below, held, earlier.clamp(min=0)))
        weight = given.weight / given.weight.mean() if recipe.face_weight else torch.ones_like(given.weight)
        distance = ((made - held).square() + _HUBER**2).sqrt() - _HUBER
        return {"consistency": (distance * weight).mean()}

    def _teacher_step(
        self, model: FewStepModel, given: TrainingBatch, source: Tensor, noisy: Tensor, later: Tensor, earlier: Tensor
    ) -> Tensor:
        """One guided DDIM step of the teacher, from t to `earlier`."""
        nets = model.networks_with(model.teacher, self.recipe.present)
        t = later.repeat_interleave(self.recipe.frames)
        clean, eps = predict_clean(nets, self.scheduler, noisy, t, self._conditions(nets, given, source, noisy, later))
        if self.guidance != 1:
            _, plain = predict_clean(nets, self.scheduler, noisy, t, None)
            eps = classifier_free(plain, eps, self.guidance)
            clean = _clean_from(self.scheduler, noisy, eps, t)
        alphas = self.scheduler.alphas_cumprod.to(noisy.device)
        alpha = torch.where(earlier < 0, torch.ones_like(alphas[0]), alphas[earlier.clamp(min=0)]).view(-1, 1, 1, 1)
        return alpha.sqrt() * clean + (1 - alpha).sqrt() * eps

    def look_sampling(self, kind: str) -> tuple[int, float]:
        """Few steps, and no guidance: it is folded in."""
        return _STEPS, 1.0

    def export(self, model: nn.Module, folder: Path) -> None:
        """See `Stage.export`: the student, with few steps and no guidance as its defaults."""
        from mien.training.x_portrait.export import to_pipeline

        assert isinstance(model, PortraitModel)
        pipe = to_pipeline(model, self.config, self.recipe.present)
        kept = {"window": 16, "overlap": 4, **(pipe.config.defaults or {})}
        few = {"num_inference_steps": _STEPS, "guidance_scale": 1.0}
        pipe.register_to_config(defaults={**kept, **few, "fast": {"num_inference_steps": 2}})
        if self.config.prediction_type == "epsilon":
            pipe.use_few_steps()
        pipe.save_pretrained(folder)


def boundary(noisy: Tensor, clean: Tensor, timestep: Tensor) -> Tensor:
    """c_skip x_t + c_out x_0, which is x_t itself at t = 0 (Luo et al. 2023, Eq. 9 and Appendix).

    Args:
        noisy: x_t [n, c, h, w].
        clean: what is predicted of x_0, the same shape.
        timestep: [n].

    Returns:
        [n, c, h, w].
    """
    scaled = (timestep.float() * _TIME_SCALE).view(-1, 1, 1, 1)
    total = scaled.square() + _DATA_SIGMA**2
    return noisy * (_DATA_SIGMA**2 / total) + clean * (scaled / total.sqrt())


def _clean_from(scheduler: DDIMScheduler, noisy: Tensor, eps: Tensor, timestep: Tensor) -> Tensor:
    alpha = scheduler.alphas_cumprod.to(noisy.device)[timestep].view(-1, 1, 1, 1)
    return (noisy - (1 - alpha).sqrt() * eps) / alpha.sqrt()
