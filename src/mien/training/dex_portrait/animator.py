"""Stage `dex/animator`: DeX-Portrait's diffusion animator on single pictures (Section 3.2, stage B).

    mien train dex/animator --data AVATARS --start runs/dex-motion --vae runs/vae --out runs/dex-animator --size nano

The encoders and the autoencoder are frozen; both U-Nets and everything that is injected learn. Presets name the
ablations of the paper's Table 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import InputError
from mien.models.dex_portrait import FULL, NANO, Conditions, DeXPortraitConfig, DeXPortraitNetworks, Pose
from mien.pipelines.dex_portrait import paper_scheduler
from mien.training.data.samples import SampleSource
from mien.training.data.stage import SampleStage
from mien.training.dex_portrait.collate import DRIVERS, Augmentation, Collate
from mien.training.dex_portrait.model import (
    AnimatorModel,
    as_pipeline,
    fresh,
    take_backbone,
    take_start,
)
from mien.training.engine.config import SIZES, StageConfig, option
from mien.training.engine.stage import Batch, Losses, OptimizerStep
from mien.training.latent_diffusion import scheduler_of, sheet
from mien.typing import Picture

PRESETS = ("paper", "no-ray-map", "no-warping", "no-augmentation")
LEARNING = ("empty_prompt", "appearance_reference", "unet", "injection")


@dataclass(frozen=True)
class Dropout:
    """Chances with which conditions are left out, one source with all its driving frames at a time.

    They are of everything, of the expression (which the sampler's first steps do without), and of the pose.
    """

    everything: float = 0.10
    expression: float = 0.10
    pose: float = 0.05


# what a face window starts from shows the pose, and one step without guidance adds to it: what is left out is hardly
# asked for
STARTED, NOTHING_DROPPED = Dropout(0.05, 0.05, 0.05), Dropout(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Dropped:
    """Which sources [r] lose what."""

    everything: Tensor
    expression: Tensor
    pose: Tensor

    @classmethod
    def draw(cls, sources: int, chances: Dropout, generator: torch.Generator) -> Dropped:
        """Independent draws. Never all sources lose everything: then nothing would be learned of the reference.

        Args:
            sources: how many, r.
            chances: of each loss, 0 to 1.
            generator: draws them.

        Returns:
            Masks [r], true where a source loses the condition.
        """
        chance = torch.rand(3, sources, generator=generator)
        everything = chance[0] < chances.everything
        if bool(everything.all()):
            everything[int(chance[0].argmax())] = False
        return cls(everything, chance[1] < chances.expression, chance[2] < chances.pose)


@dataclass(frozen=True)
class AnimatorConfig(StageConfig):
    """Of the denoiser."""

    size: str = option("nano", "nano or full.", choices=SIZES)
    preset: str = option("paper", "paper, or an ablation: no-ray-map, no-warping, no-augmentation.", choices=PRESETS)
    vae: str | None = option(None, "A run of the stage vae (nano, unless --start has one).")
    backbone: str | None = option(None, "A local diffusers folder of Stable Diffusion 1.5 (full).")


class DexAnimator(SampleStage):
    """Predict the noise (full size) or the clean latents (nano) of one source's four drivers."""

    name = "dex/animator"
    options: AnimatorConfig
    drivers, clips, temporal = DRIVERS, False, False

    def __init__(
        self,
        options: AnimatorConfig,
        data: SampleSource | None = None,
        config: DeXPortraitConfig | None = None,
        dropout: Dropout | None = None,
    ) -> None:
        """data, config, dropout: in place of what the options say."""
        self.preset = options.preset
        nano = options.size == "nano"
        self.options, self.config = options, config or (NANO if nano else FULL)
        self.dropout = dropout or Dropout()
        self.steps, self.batch_size = (12_000, 2) if nano else (120_000, 12)
        side = self.config.backbone.image_size
        self.data = data
        self.collate = Collate(self.config, side, Augmentation(off=self.preset == "no-augmentation"))
        self.scheduler = scheduler_of(self.config.backbone.prediction_type, paper_scheduler())
        self.optimizer_steps = (self._optimizer_step(options.loop.learning_rate or (6e-4 if nano else 1e-5)),)

    def _optimizer_step(self, rate: float) -> OptimizerStep:
        return OptimizerStep("denoiser", LEARNING, rate, self._loss)

    @property
    def ray_maps(self) -> bool:
        """Whether the denoiser is shown ray maps."""
        return self.preset != "no-ray-map"

    @property
    def warping(self) -> bool:
        """Whether it is shown the warped reference."""
        return self.preset != "no-warping"

    def build(self) -> nn.Module:
        """Random networks, then the backbone or the autoencoder, then what `--start` names (by `start`)."""
        model = fresh(self.options.loop.seed, self.config)
        if self.options.backbone is not None:
            take_backbone(model, Path(self.options.backbone))
        elif self.options.vae is not None:
            known = model.take_vae(Path(self.options.vae))
            if not known:
                model.measure_scale(self.collate.draw(self.samples(), np.random.default_rng(0), 4)["target"])
        return model

    def start(self, model: nn.Module, place: Path) -> None:
        """See `Stage.start` and `take_start`.

        Args:
            model: is filled.
            place: the run or the folder.

        Raises:
            InputError: no autoencoder was given to nano, neither here nor with `--vae`.
            WeightsError: something does not fit.
        """
        assert isinstance(model, AnimatorModel)
        whole = take_start(model, place)
        if not whole and self.options.vae is None and self.config.name == NANO.name:
            raise InputError(f"{place} has encoders alone: give --vae a run of the stage vae.")

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """See `Stage.batch`: `batch_size` sources with their drivers, as `Collate` makes them."""
        return self.collate.draw(self.samples(), rng, batch_size, self.drivers, self.clips)

    def images(self, batch: Batch) -> int:
        """See `Stage.images`: targets that are noised."""
        return len(batch["target"])

    def block_types(self) -> tuple[type[nn.Module], ...]:
        """The denoiser's blocks keep banks between them, so that nothing is computed again."""
        return ()

    # -- the loss --------------------------------------------------------------------------------------------------

    def _loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        assert isinstance(model, AnimatorModel)
        nets = model.networks(self.temporal)
        source, clean = model.encode(batch["source"]), model.encode(batch["target"])
        sources, frames = len(source), len(clean) // len(source)
        device = clean.device
        timestep = self._timesteps(sources, generator).to(device).repeat_interleave(frames)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        noisy = self.scheduler.add_noise(clean, noise, timestep)
        noisy = self.scheduler.scale_model_input(noisy, timestep)
        dropped = Dropped.draw(sources, self.dropout, generator)
        given = self._given(nets, source, self._codes(nets, batch), dropped, frames)
        got = self._predict(nets, noisy, timestep, given, dropped, frames)
        wanted = noise if self.config.backbone.prediction_type == "epsilon" else clean
        weight = self._weight(batch["mask"], clean.shape[-1])
        return {"denoising": ((got.float() - wanted).square() * weight).mean()}

    def _timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        if self.config.backbone.prediction_type == "epsilon":
            return torch.randint(0, 1000, (count,), generator=generator)
        # high noise decides pose and expression, and few-step sampling lives there
        return (999 - 850 * torch.rand(count, generator=generator) ** 4).long()

    def _weight(self, mask: Tensor, side: int) -> Tensor:
        """At nano size the face counts four times as much as the rest; the paper's loss is even."""
        if self.config.backbone.prediction_type == "epsilon":
            return torch.ones((), device=mask.device)
        weight = 1 + 3 * functional.interpolate(mask, (side, side), mode="area")
        return weight / weight.mean()

    @torch.no_grad()
    def _codes(self, nets: DeXPortraitNetworks, batch: Batch) -> tuple[Pose, Pose, Tensor]:
        """Poses of sources and drivers, and the drivers' expressions, by the frozen encoders."""
        nets.expression_encoder.eval()  # no dropout, no running statistics: it is frozen
        own, driving = nets.pose_encoder.pose(batch["source_masked"]), nets.pose_encoder.pose(batch["masked"])
        return own, driving, nets.expression_encoder(batch["crop"])

    def _given(
        self,
        nets: DeXPortraitNetworks,
        source: Tensor,
        codes: tuple[Pose, Pose, Tensor],
        dropped: Dropped,
        frames: int,
    ) -> Conditions:
        """Of the sources [r, c, h, w] that did not lose everything."""
        own, driving, expression = codes
        kept, rows = frame_rows(~dropped.everything, frames, source.device)
        without_expression, without_pose = (
            lost.to(source.device)[kept].repeat_interleave(frames) for lost in (dropped.expression, dropped.pose)
        )
        return Conditions(
            reference_features=nets.read_appearance([source[kept]]),
            latents=source[kept],
            source_pose=own[kept],
            pose=driving[rows],
            tokens=nets.injection.tokens(expression[rows], without_expression),
            pose_absent=without_pose,
            ray_maps=self.ray_maps,
            warping=self.warping,
        )

    def _predict(
        self,
        nets: DeXPortraitNetworks,
        noisy: Tensor,
        timestep: Tensor,
        given: Conditions,
        dropped: Dropped,
        frames: int,
    ) -> Tensor:
        """Predictions [n, c, h, w]: sources that lost everything run apart, for nothing is injected there."""
        kept, rows = frame_rows(~dropped.everything, frames, noisy.device)
        length = frames if self.temporal else 1
        got = nets.predict(noisy[rows], timestep[rows], length, given)
        if len(kept) == len(dropped.everything):
            return got
        _, rest = frame_rows(dropped.everything, frames, noisy.device)
        nothing = Conditions(tokens=nets.injection.no_expression(len(rest)))
        bare = nets.predict(noisy[rest], timestep[rest], length, nothing)
        result = torch.empty_like(noisy).to(got.dtype)
        return result.index_copy(0, rows, got).index_copy(0, rest, bare.to(got.dtype))

    # -- what is looked at -------------------------------------------------------------------------------------------

    def pictures(self, model: nn.Module) -> Picture:
        """See `Stage.pictures`: rows of source, driver, both, the pose alone, the expression alone; in few steps."""
        assert isinstance(model, AnimatorModel)
        nets, device = model.networks(False), model.latent_scale.device
        batch = self._shown(device)
        own, driving, face = self._codes(nets, batch)
        own_face = nets.expression_encoder(batch["source_crop"])
        source = model.encode(batch["source"])
        columns = [batch["source"], batch["target"]]
        for pose, code in ((driving, face), (driving, own_face), (own, face)):
            given = Conditions(nets.read_appearance([source]), source, own, pose, nets.injection.tokens(code))
            given = replace(given, ray_maps=self.ray_maps, warping=self.warping)
            columns.append(model.decode(self._sample(nets, source, given)))
        return sheet(columns)

    def _shown(self, device: torch.device) -> Batch:
        """Four sources with a driver each, nothing augmented."""
        plain = replace(self.collate, augmentation=self.collate.augmentation.none())
        drawn = plain.draw(self.samples(), np.random.default_rng(0), 4, 1)
        return {name: value.to(device) for name, value in drawn.items()}

    def _sample(self, nets: DeXPortraitNetworks, source: Tensor, given: Conditions, steps: int = 4) -> Tensor:
        scheduler = type(self.scheduler).from_config(self.scheduler.config)
        scheduler.set_timesteps(steps)
        noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(0)).to(source.device)
        latents = scheduler.add_noise(source, noise, scheduler.timesteps[:1])
        for timestep in scheduler.timesteps.to(source.device):
            got = nets.predict(scheduler.scale_model_input(latents, timestep), timestep, 1, given)
            latents = scheduler.step(got.float(), timestep, latents, return_dict=False)[0]
        return latents

    def export(self, model: nn.Module, folder: Path) -> None:
        """See `Stage.export`: the folder that `DeXPortraitPipeline.from_pretrained` takes."""
        assert isinstance(model, AnimatorModel)
        made = as_pipeline(model, self.config, self.temporal, self.ray_maps, self.warping)
        made.save_pretrained(folder)


def frame_rows(chosen: Tensor, frames: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where chosen sources and their frames stand.

    Args:
        chosen: mask of the sources [r].
        frames: of each source; a batch holds those of one source in a row.
        device: of the result.

    Returns:
        Numbers of the chosen sources [k], and of all their frames [k * frames].
    """
    sources = torch.nonzero(chosen).flatten().to(device)
    return sources, (sources[:, None] * frames + torch.arange(frames, device=device)).flatten()
