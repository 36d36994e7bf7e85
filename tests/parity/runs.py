"""The golden parity check: a kit's weights through our converter, its inputs through the code that animates.

Single networks are compared in `parity.networks`; the sampling runs here go through the pipeline's own
`XPortraitDenoiser` and the published script's loop, `parity.ring`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mien.diffusion import WindowPlan, noised
from mien.errors import InputError
from mien.interop.x_portrait import assemble, convert
from mien.jobs.run.progress import Progress, Silent
from mien.models.x_portrait import ReferenceFeatures, XPortraitNetworks
from mien.pipelines.pictures import to_uint8
from mien.pipelines.x_portrait import XPortraitPipeline
from mien.pipelines.x_portrait_denoiser import XPortraitDenoiser
from parity import networks as parity_networks
from parity.kit_files import ArrayResult, Arrays, Kit, compare, read_kit
from parity.networks import Clip, build_clip, build_scheduler
from parity.preparation import official_arrays
from parity.ring import denoise_ring, official_windows
from parity.watching import statistics

_NOISY_UPDATE = re.compile(r"variant\.eta(?P<eta>\d+)_(index(?P<index>\d+)_)?(?P<what>sigmas|x_prev|pred_x0)$")


class _Stage(NamedTuple):
    """Some golden arrays, by the beginnings of their names, and what computes them."""

    name: str
    arrays: tuple[str, ...]
    compute: Callable[[], Arrays]


def run_parity(folder: Path, progress: Progress | None = None) -> list[ArrayResult]:
    """Compare our code with every golden array of a kit, one result each.

    Raises InputError for a folder that is no kit, WeightsError for weights that the converter refuses. A stage that
    cannot run (an optional package or an input is missing) fails its arrays with the reason.
    """
    kit = read_kit(folder)
    return compare(kit, *compute_arrays(kit, progress or Silent()))


def compute_arrays(kit: Kit, progress: Progress) -> tuple[Arrays, dict[str, str]]:
    """Our version of the arrays that the kit names; and, by the beginnings of their names, why some are missing."""
    parts, _ = convert(kit.state_dict(), kit.config, kit.tensor("context"), "the kit's")
    networks = assemble(parts, kit.config)
    arrays: Arrays = {}
    problems: dict[str, str] = {}
    with torch.no_grad():
        for stage in _stages(kit, networks):
            if not any(name.startswith(stage.arrays) for name in kit.outputs):
                continue
            progress.stage(stage.name, None)
            try:
                arrays.update(stage.compute())
            except InputError as error:
                problems.update(dict.fromkeys(stage.arrays, str(error)))
    return arrays, problems


def _stages(kit: Kit, networks: XPortraitNetworks) -> list[_Stage]:
    scheduler = build_scheduler(kit)
    pipe = XPortraitPipeline(**vars(networks), scheduler=scheduler, image_size=kit.config.image_size)
    clip = build_clip(kit, networks, scheduler)
    single = ("apply.", "stats.", "unet.", "bank.", "refattn.", "hint.", "control.")
    return [
        _Stage("autoencoder", ("vae.",), lambda: parity_networks.vae_arrays(kit, networks)),
        _Stage("schedule", ("ddim.",), lambda: parity_networks.schedule_arrays(kit)),
        _Stage("temporal modules", ("mm_out.", "mm."), lambda: parity_networks.temporal_arrays(kit, networks)),
        _Stage("single calls", single, lambda: parity_networks.single_call_arrays(kit, networks, clip)),
        _Stage("guidance", ("variant.cfg",), lambda: _guidance_arrays(kit, pipe, clip)),
        _Stage("run A", ("runA.", "variant.eta"), lambda: _run_a(kit, pipe, clip)),
        _Stage("run B, more pictures", ("runB.",), lambda: _run_b(kit, pipe, clip)),
        _Stage("alignment", ("align.", "prep."), lambda: official_arrays(kit.inputs, kit.manifest)),
    ]


class _Run:
    """One run of the official flow on a clip: its denoiser, and what it keeps of every step."""

    def __init__(self, kit: Kit, pipe: XPortraitPipeline, clip: Clip, sources: Sequence[Tensor], mode: str) -> None:
        self.kit, self.pipe, self.clip = kit, pipe, clip
        self.plan = WindowPlan(int(kit.run["B"]), int(kit.run["overlap"]))
        pipe.scheduler.set_timesteps(int(kit.run["S"]))
        scale = float(kit.run["cfg"])
        self.denoiser = XPortraitDenoiser(pipe, self.plan, scale, sources, guidance_mode=mode)
        for frame in range(len(clip.start)):
            self.denoiser.control_features[frame] = clip.hints.select(torch.tensor([frame]))
        self.predictions: list[Tensor] = []
        self.latents: list[Tensor] = []
        self.windows: list[Tensor] = []

    def sample(self, offsets: Sequence[int]) -> Tensor:
        """The last latents; predictions and latents of every step, and the first step's windows, are kept."""
        length, overlap = self.plan.length, self.plan.overlap
        return denoise_ring(
            self.clip.start, self.pipe.scheduler, self._predict, offsets, length, overlap, on_step=self._keep
        )

    def _predict(self, step: int, rows: Sequence[int], latents: Tensor) -> Tensor:
        prediction = self.denoiser(step, rows, latents)
        if step == 0:
            self.windows.append(prediction)
        return prediction

    def _keep(self, step: int, prediction: Tensor, latents: Tensor) -> None:
        # banks of past timesteps are of no more use, and with latents per frame they are large
        self.denoiser.reference_features.pop(step, None)
        self.predictions.append(prediction)
        self.latents.append(latents)

    def clean(self) -> Tensor:
        """x_0 as the last step predicts it."""
        before = self.latents[-2] if len(self.latents) > 1 else self.clip.start
        timestep = self.pipe.scheduler.timesteps[-1]
        clean: Tensor = self.pipe.scheduler.step(self.predictions[-1], timestep, before).pred_original_sample
        return clean


def _run_a(kit: Kit, pipe: XPortraitPipeline, clip: Clip) -> Arrays:
    run = _Run(kit, pipe, clip, [clip.reference], "control")
    info = kit.manifest["info"]["A"]
    _check_windows(info, len(clip.start), run.plan)
    last, shown = run.sample(info["offsets"]), list(kit.run["decode"])
    decoded = parity_networks.decoded(pipe.networks, last)
    return {
        "runA.ref_latents": clip.reference.numpy(),
        "runA.x_T": clip.start.numpy(),
        "runA.x_steps": torch.stack(run.latents).numpy(),
        "runA.eps_steps": torch.stack(run.predictions).numpy(),
        "runA.pred_x0_last": run.clean().numpy(),
        "runA.window_eps_step0": torch.stack(run.windows).numpy(),
        "runA.decoded": decoded[shown].numpy(),
        "runA.video_u8": np.stack(to_uint8(pipe._decode(last[shown]))),
        "runA.decoded_stats": statistics(decoded),
        **_noisy_update_arrays(kit, pipe, clip, run.predictions[0]),
    }


def _run_b(kit: Kit, pipe: XPortraitPipeline, clip: Clip) -> Arrays:
    run = _Run(kit, pipe, clip, [clip.reference, *clip.more_references], "control")
    last = run.sample(kit.manifest["info"]["B"]["offsets"])
    decoded = parity_networks.decoded(pipe.networks, last)
    return {
        "runB.more_ref_latents": torch.stack(clip.more_references).numpy(),
        "runB.eps_step0": run.predictions[0].numpy(),
        "runB.x_last": last.numpy(),
        "runB.decoded": decoded[list(kit.run["dec_more"])].numpy(),
        "runB.decoded_stats": statistics(decoded),
    }


def _noisy_update_arrays(kit: Kit, pipe: XPortraitPipeline, clip: Clip, prediction: Tensor) -> Arrays:
    """`variant.eta05_…`: single updates of x_T with eta 0.5, by run A's first prediction whatever their timestep."""
    scheduler, arrays = pipe.scheduler, {}
    ascending = scheduler.timesteps.flip(0)
    for name in kit.outputs:
        asked = _NOISY_UPDATE.match(name)
        if asked is None:
            continue
        eta = float(f"{asked['eta'][0]}.{asked['eta'][1:]}")
        if asked["what"] == "sigmas":
            zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
            # an update of 0 with a predicted noise of 0 leaves sigma times the fresh noise
            updates = [scheduler.step(zero, t, zero, eta=eta, variance_noise=one).prev_sample for t in ascending]
            arrays[name] = torch.cat(updates).numpy()
        elif asked["index"] is not None:
            noise, timestep = kit.tensor("noise.eta_step"), ascending[int(asked["index"])]
            update = scheduler.step(prediction, timestep, clip.start, eta=eta, variance_noise=noise)
            arrays[name] = (update.prev_sample if asked["what"] == "x_prev" else update.pred_original_sample).numpy()
    return arrays


def _guidance_arrays(kit: Kit, pipe: XPortraitPipeline, clip: Clip) -> Arrays:
    rows = [frame % len(clip.start) for frame in range(int(kit.run["B"]))]
    arrays: Arrays = {}

    def guided(name: str, mode: str, reference: Tensor, bank: ReferenceFeatures | None = None) -> None:
        if f"variant.{name}" in kit.outputs:
            run = _Run(kit, pipe, clip, [reference], mode)
            run.denoiser.timesteps = [torch.tensor(int(kit.run["t"]))]
            arrays[f"variant.{name}"] = run.denoiser(0, rows, clip.start[rows]).numpy()

    guided("cfg_default", "control", clip.reference)
    guided("cfg_balance_mode", "balance", clip.reference)
    if "noise.ref_q" in kit.inputs:
        # the official flag wonoise off: R reads the reference noised to the timestep
        noisy = clip.reference.clone()
        noise, alphas = kit.tensor("noise.ref_q"), pipe.scheduler.alphas_cumprod
        noisy[rows] = noised(clip.reference[rows], noise, alphas, int(kit.run["t"]))
        guided("cfg_reference_noised", "control", noisy)
    return arrays


def _check_windows(info: dict[str, Any], frames: int, plan: WindowPlan) -> None:
    """The kit tells where the windows began; InputError unless our rule begins them there."""
    starts = [
        [rows[0] for rows in official_windows(frames, plan.length, plan.overlap, offset)] for offset in info["offsets"]
    ]
    told = [[start % frames for start in step] for step in info["window_starts"]]
    if starts != told:
        raise InputError(f"the kit's windows start at {told}, by the official rule they start at {starts}.")
