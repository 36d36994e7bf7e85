"""What X-Portrait's stages compute: conditions, a noised target, the loss; and a short sampling to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler
from diffusers.models.attention_processor import Attention
from torch import Tensor

from mien.diffusion import XPortraitDDIMScheduler, classifier_free
from mien.models.sd_backbone.backbone import Residuals
from mien.models.sd_backbone.reference_attention import ReferenceRecorder
from mien.models.x_portrait import ReferenceFeatures, XPortraitNetworks
from mien.training.latent_diffusion import BETAS, scheduler_of
from mien.training.x_portrait.collate import TrainingBatch
from mien.training.x_portrait.model import PortraitModel
from mien.training.x_portrait.motion_supervision import region_loss


class _FirstTokens(ReferenceRecorder):
    """Keeps what it is given first: where a layer is computed again for its gradient, its tokens come twice."""

    def add(self, layer: str, tokens: Tensor) -> None:
        self.tokens.setdefault(layer, tokens)


class _Unkept(ReferenceFeatures):
    """Projects the tokens anew each time: a kept projection would be missing where a layer is computed again."""

    def keys_values(self, layer: str, attention: Attention, batch: int) -> tuple[Tensor, Tensor]:
        self._projected.clear()
        return super().keys_values(layer, attention, batch)


def scheduler_for(prediction_type: str) -> DDIMScheduler:
    """The sampler that goes with what a model predicts, see `latent_diffusion.scheduler_of`.

    Args:
        prediction_type: "epsilon" or "sample".

    Returns:
        The sampler.
    """
    return scheduler_of(prediction_type, XPortraitDDIMScheduler(*BETAS, clip_sample=False, set_alpha_to_one=False))


@dataclass(frozen=True)
class DenoisingConditions:
    """What a prediction depends on besides the noisy latents.

    Attributes:
        reference_features: the source's features.
        residuals: of the motion controls; None: there are none.
        init_latents: what a network that reads its start is shown: the source latents [r, c, h, w].
        frames: of each source.
    """

    reference_features: ReferenceFeatures
    residuals: Residuals | None
    init_latents: Tensor
    frames: int


def read_appearance(nets: XPortraitNetworks, source: Tensor, timestep: Tensor, learning: bool) -> ReferenceFeatures:
    """R's tokens for a source.

    Args:
        nets: with R.
        source: latents [r, c, h, w].
        timestep: [r].
        learning: with gradients, where R learns.

    Returns:
        Features that the U-Net attends to.
    """
    recorder, reference_features = _FirstTokens(), _Unkept()
    with torch.set_grad_enabled(learning and torch.is_grad_enabled()):
        nets.appearance_reference(source, timestep, nets.empty_prompt(), recorder)
    reference_features.tokens = recorder.tokens
    return reference_features


def residuals_of(
    nets: XPortraitNetworks, draw: TrainingBatch, noisy: Tensor, timestep: Tensor, present: Sequence[str]
) -> Residuals | None:
    """What the motion controls add.

    Args:
        nets: with the controls.
        draw: with control images and patches.
        noisy: latents [n, c, h, w].
        timestep: [n].
        present: optional parts that the stage has.

    Returns:
        None before the controls exist.
    """
    if "motion_control" not in present:
        return None
    control_features = nets.read_motion(draw.control, draw.patches if nets.local_control is not None else None)
    return nets.control(noisy, timestep, control_features)


def predict_clean(
    nets: XPortraitNetworks,
    scheduler: DDIMScheduler,
    noisy: Tensor,
    timestep: Tensor,
    given: DenoisingConditions | None,
) -> tuple[Tensor, Tensor]:
    """x_0 and eps that the networks see in noisy latents.

    Args:
        nets: all of them.
        scheduler: says what is predicted.
        noisy: latents [n, c, h, w].
        timestep: [n].
        given: conditions; None: the unconditional branch.

    Returns:
        Both [n, c, h, w], float32.
    """
    shown = scheduler.scale_model_input(noisy, timestep)
    frames = 1 if given is None or nets.temporal is None else given.frames
    if given is None:
        out = nets.denoise(shown, timestep, frames)
    else:
        out = nets.denoise(shown, timestep, frames, given.reference_features, given.residuals, given.init_latents)
    out = out.float()
    alpha = scheduler.alphas_cumprod.to(noisy.device)[timestep].view(-1, 1, 1, 1)
    if scheduler.config.prediction_type == "epsilon":
        return (noisy - (1 - alpha).sqrt() * out) / alpha.sqrt(), out
    return out, (noisy - alpha.sqrt() * out) / (1 - alpha).sqrt()


def draw_timesteps(count: int, power: float | None, generator: torch.Generator) -> Tensor:
    """Timesteps: uniform over all, or preferring high noise.

    High noise decides pose and expression, and few-step sampling lives there: with a power the lowest is never drawn.

    Args:
        count: how many.
        power: the higher, the more high noise; None: uniform.
        generator: draws them.

    Returns:
        [count], 0 to 999.
    """
    if power is None:
        return torch.randint(0, 1000, (count,), generator=generator)
    return (999 - 850 * torch.rand(count, generator=generator) ** power).long()


def motion_supervision_loss(
    model: PortraitModel,
    nets: XPortraitNetworks,
    draw: TrainingBatch,
    scheduler: DDIMScheduler,
    generator: torch.Generator,
) -> Tensor:
    """The motion supervision alone: C reads the driving frame under pure noise, and nothing else runs.

    Args:
        model: with its motion head.
        nets: the networks of the stage.
        draw: with control images and regions.
        scheduler: of the noise.
        generator: of the noise.

    Returns:
        A number.
    """
    rows, cells = len(draw.control), draw.control.shape[-1] // 8
    shape = (rows, int(model.vae.config.latent_channels), cells, cells)
    noise = torch.randn(shape, generator=generator).to(draw.control.device)
    timestep = torch.randint(500, 1000, (rows,), generator=generator).to(noise.device)
    control_features = nets.read_motion(draw.control, None)
    residuals = nets.control(scheduler.scale_model_input(noise, timestep), timestep, control_features)
    return region_loss(model.motion_head(residuals), draw.regions)


@torch.no_grad()
def sample(
    model: PortraitModel,
    present: Sequence[str],
    draw: TrainingBatch,
    steps: int,
    scale: float,
    scheduler: DDIMScheduler,
) -> Tensor:
    """Pictures for the sources and controls of a draw, from seed 0.

    Args:
        model: of the stage.
        present: optional parts that are used.
        draw: r sources with f targets each.
        steps: of denoising.
        scale: of guidance.
        scheduler: of the model.

    Returns:
        [r * f, 3, h, w] in [-1, 1].
    """
    nets, frames = model.networks(present), len(draw.target) // len(draw.source)
    source = model.encode(draw.source)
    shape = (len(draw.target), *source.shape[1:])
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(source.device)
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps.to(source.device)
    start = source.repeat_interleave(frames, 0)  # noise from the source (Section 4.1)
    latents = scheduler.add_noise(start, noise, times[:1].expand(len(noise)))
    for time in times:
        per_frame = time.expand(len(noise))
        reference_features = read_appearance(nets, source, time.expand(len(source)), learning=False)
        shown = scheduler.scale_model_input(latents, per_frame)
        given = DenoisingConditions(
            reference_features, residuals_of(nets, draw, shown, per_frame, present), source, frames
        )
        clean, eps = predict_clean(nets, scheduler, latents, per_frame, given)
        if scale != 1:
            _, plain = predict_clean(nets, scheduler, latents, per_frame, None)
            eps = classifier_free(plain, eps, scale)
            alpha = scheduler.alphas_cumprod[time]
            clean = (latents - (1 - alpha).sqrt() * eps) / alpha.sqrt()
        out = eps if scheduler.config.prediction_type == "epsilon" else clean
        latents = scheduler.step(out, int(time), latents, return_dict=False)[0]
    return model.decode(latents)
