"""Golden arrays of single networks and of the schedule: what the official code gave, computed by ours."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from torch import Tensor

from mien.diffusion import XPortraitDDIMScheduler, advance, noised
from mien.errors import InputError
from mien.models.x_portrait import ControlFeatures, ReferenceFeatures, XPortraitNetworks
from parity.kit_files import Arrays, Kit
from parity.watching import Watch, named_places, statistics

_FRAMES_OF = re.compile(r"(?P<what>.+?)(?P<number>\d\d)_frame(?P<frame>s|\d+)$")


@dataclass(frozen=True)
class Clip:
    """A kit's clip as the networks take it, all in float32: reference latents [n, c, h, w] of the source, of every
    further picture, the start x_T, and the encoded driving and local pictures."""

    reference: Tensor
    more_references: list[Tensor]
    start: Tensor
    hints: ControlFeatures


def build_scheduler(kit: Kit) -> XPortraitDDIMScheduler:
    """The pipeline's scheduler with the kit's noise schedule."""
    settings = kit.manifest["config"]["diffusion"]
    return XPortraitDDIMScheduler(
        num_train_timesteps=int(settings["timesteps"]),
        beta_start=float(settings["linear_start"]),
        beta_end=float(settings["linear_end"]),
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
    )


def posterior(networks: XPortraitNetworks, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance [n, c, h, w] of the VAE's posterior."""
    distribution = networks.vae.encode(pictures).latent_dist
    return distribution.mean, distribution.logvar


def drawn(networks: XPortraitNetworks, picture: Tensor, noise: Tensor) -> Tensor:
    """Scaled latents of one picture [3, H, W], drawn once per frame with the given noise [n, c, h, w]."""
    mean, logvar = posterior(networks, picture[None])
    return (mean + torch.exp(0.5 * logvar) * noise) * networks.vae.config.scaling_factor


def decoded(networks: XPortraitNetworks, latents: Tensor) -> Tensor:
    """Pictures [n, 3, H, W] of scaled latents, not yet limited to [-1, 1]."""
    pictures: Tensor = networks.vae.decode(latents / networks.vae.config.scaling_factor).sample
    return pictures


def build_clip(kit: Kit, networks: XPortraitNetworks, scheduler: XPortraitDDIMScheduler) -> Clip:
    """Encode the kit's pictures with its draws of noise, as the official script does before sampling."""
    source = kit.picture("source_u8")
    first = drawn(networks, source, kit.tensor("noise.eps_vae_init"))
    more = list(kit.picture("more_sources_u8")) if "more_sources_u8" in kit.inputs else []
    return Clip(
        reference=drawn(networks, source, kit.tensor("noise.eps_vae_ref")),
        more_references=[drawn(networks, p, kit.tensor("noise.eps_vae_more")[i]) for i, p in enumerate(more)],
        start=noised(first, kit.tensor("noise.eps_q_init"), scheduler.alphas_cumprod),
        hints=networks.read_motion(kit.picture("driving_u8"), kit.picture("local_u8")),
    )


def vae_arrays(kit: Kit, networks: XPortraitNetworks) -> Arrays:
    """Encoder posterior of the source and the decoded probe."""
    mean, logvar = posterior(networks, kit.picture("source_u8")[None])
    return {
        "vae.moments_mean": mean[0].numpy(),
        "vae.moments_logvar": logvar[0].numpy(),
        "vae.mode_scaled": (mean[0] * networks.vae.config.scaling_factor).numpy(),
        "vae.decode_probe": decoded(networks, kit.tensor("latent_probe"))[0].numpy(),
    }


def schedule_arrays(kit: Kit) -> Arrays:
    """Timesteps (ascending) and alphas, and what alphas the scheduler's own update goes to."""
    scheduler = build_scheduler(kit)
    arrays = {"ddim.alphas_cumprod": scheduler.alphas_cumprod.numpy()}
    for name in kit.outputs:
        if name.startswith("ddim.timesteps_S"):
            suffix = name.removeprefix("ddim.timesteps_")
            scheduler.set_timesteps(int(suffix[1:]))
            timesteps = scheduler.timesteps.flip(0)
            arrays[name] = timesteps.numpy()
            arrays[f"ddim.alphas_{suffix}"] = scheduler.alphas_cumprod[timesteps].numpy()
            arrays[f"ddim.alphas_prev_{suffix}"] = _alphas_after(scheduler)
    return arrays


def _alphas_after(scheduler: XPortraitDDIMScheduler) -> np.ndarray:
    """alpha_prev of every step, ascending, told from an update of 1 with a predicted noise of 0."""
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    ratios = [advance(scheduler, step, zero, one) for step in range(len(scheduler.timesteps))]
    alphas = scheduler.alphas_cumprod[scheduler.timesteps].double()
    return (torch.cat(ratios) ** 2 * alphas).flip(0).numpy()


def temporal_arrays(kit: Kit, networks: XPortraitNetworks) -> Arrays:
    """Single temporal modules on their own inputs, and the position table."""
    if networks.temporal is None:
        raise ValueError("these networks have no temporal modules")
    paths, arrays = {"input": "down", "output": "up"}, {}
    for name in kit.inputs:
        if name.startswith("mm_in."):
            module = name.removeprefix("mm_in.")
            where, index = paths[module.split("_")[0]], int(module.rsplit(".", 1)[1])
            made = networks.temporal(kit.tensor(name), int(kit.run["B"]), where, index)
            arrays[f"mm_out.{module}"] = made.numpy()
    for name in kit.outputs:
        if name.startswith("mm.pe_"):
            width, length = int(name.removeprefix("mm.pe_")), networks.temporal.config.positions
            arrays[name] = SinusoidalPositionalEmbedding(width, length).pe[0].numpy()
    return arrays


def single_call_arrays(kit: Kit, networks: XPortraitNetworks, clip: Clip) -> Arrays:
    """One call of every network on the first window's frames at the timestep `run.t`."""
    timestep = torch.tensor(int(kit.run["t"]))
    rows = torch.arange(int(kit.run["B"])) % len(clip.start)
    noisy, hints = clip.start[rows], clip.hints.select(rows)
    arrays: Arrays = {}

    watch = Watch()
    with watch.on(named_places(networks, kit.config, "appearance_reference")):
        bank = networks.read_appearance([clip.reference[rows]], timestep)
    arrays.update(_block_statistics(kit, "stats.appearance", watch))
    arrays.update(_bank_arrays(kit, bank))

    layer = next(iter(bank.tokens)).removesuffix(".processor")
    watch = Watch()
    reader = {"reader": networks.unet.get_submodule(layer)}
    with watch.on({**named_places(networks, kit.config, "unet"), **reader}):
        conditional = networks.predict(noisy, timestep, len(rows), bank, hints)
    own, kept = watch.inputs["reader"][0], next(iter(bank.tokens.values()))[0]
    arrays["apply.eps_cond"] = conditional.numpy()
    arrays.update(_block_statistics(kit, "stats.unet_cond", watch))
    arrays["unet.time_embed"] = watch.outputs["time_embed"][0].numpy()
    arrays["refattn.query_in_frame0"] = own.numpy()
    arrays["refattn.context_frame0"] = torch.cat([own, kept]).numpy()
    arrays["refattn.out_frame0"] = watch.outputs["reader"][0].numpy()

    watch = Watch()
    with watch.on(named_places(networks, kit.config, "unet")):
        arrays["apply.eps_uncond"] = networks.predict(noisy, timestep, len(rows)).numpy()
    arrays.update(_block_statistics(kit, "stats.unet_uncond", watch))
    return {**arrays, **_control_arrays(kit, networks, noisy, timestep, hints)}


def _block_statistics(kit: Kit, name: str, watch: Watch) -> Arrays:
    """[blocks, frames, 2] in the order that the kit names, if it asks for them."""
    if name not in kit.outputs:
        return {}
    blocks = kit.manifest["row_names"][name]
    unknown = [block for block in blocks if block not in watch.outputs]
    if unknown:
        raise InputError(f"the kit asks for statistics of {unknown[0]}, which is no block of this model.")
    return {name: np.stack([statistics(watch.outputs[block]) for block in blocks])}


def _bank_arrays(kit: Kit, bank: ReferenceFeatures) -> Arrays:
    entries = list(bank.tokens.values())
    arrays = _chosen(kit, "bank.entry", entries)
    return {**arrays, "bank.stats": np.stack([statistics(tokens) for tokens in entries])}


def _control_arrays(
    kit: Kit, networks: XPortraitNetworks, noisy: Tensor, timestep: Tensor, hints: ControlFeatures
) -> Arrays:
    arrays: Arrays = {}
    controls = {"pose": (networks.motion_control, hints.motion), "local": (networks.local_control, hints.local)}
    for name, (control, hint) in controls.items():
        if control is None or hint is None:
            continue
        given = control(noisy, timestep, networks.empty_prompt(), hint)
        residuals = [*given.skips, given.middle]
        arrays[f"hint.{name}_frame0"] = hint[0].numpy()
        arrays[f"hint.{name}_stats"] = statistics(hint)
        arrays[f"control.{name}_stats"] = np.stack([statistics(residual) for residual in residuals])
        arrays.update(_chosen(kit, f"control.{name}_res", residuals))
    return arrays


def _chosen(kit: Kit, prefix: str, entries: list[Tensor]) -> Arrays:
    """Entries of a list that the kit asks for by number, one frame of them or all (`…05_frame3`, `…12_frames`)."""
    arrays = {}
    for name in kit.outputs:
        asked = _FRAMES_OF.match(name)
        if asked is not None and asked["what"] == prefix:
            entry, frame = entries[int(asked["number"])], asked["frame"]
            arrays[name] = entry.numpy() if frame == "s" else entry[int(frame)].numpy()
    return arrays
