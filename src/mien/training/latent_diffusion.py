"""What the stages of both diffusion systems share: latents and their scale, the backbone's files, samplers, sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mien.diffusion import GatedDDIMScheduler
from mien.errors import InputError, WeightsError
from mien.pipelines import loading
from mien.pipelines.pictures import to_uint8
from mien.training.engine import checkpoints
from mien.typing import Picture

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
BETAS = (1000, 0.00085, 0.012, "scaled_linear")
_AT_ONCE = 8  # pictures


class LatentModel(nn.Module):
    """Networks of a run under one roof, so that a checkpoint is one state dict. `latent_scale` is the VAE's."""

    latent_scale: Tensor
    vae: Any

    def keep_scale(self, scale: float) -> None:
        """Register the VAE's scale as a buffer.

        Args:
            scale: what latents are multiplied by.
        """
        self.register_buffer("latent_scale", torch.tensor(float(scale)))

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures to scaled latents: the posterior's mean.

        Args:
            pictures: [n, 3, h, w] in [-1, 1].

        Returns:
            [n, c, h / f, w / f], float32.
        """
        pieces = pictures.to(self.vae.dtype).split(_AT_ONCE)
        return torch.cat([self.vae.encode(piece).latent_dist.mean.float() for piece in pieces]) * self.latent_scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents to pictures.

        Args:
            latents: [n, c, h / f, w / f].

        Returns:
            [n, 3, h, w] in [-1, 1], float32.
        """
        pieces = (latents / self.latent_scale).to(self.vae.dtype).split(_AT_ONCE)
        return torch.cat([self.vae.decode(piece).sample.float() for piece in pieces]).clamp(-1, 1)

    @torch.no_grad()
    def measure_scale(self, pictures: Tensor) -> None:
        """Set the latents' scale: one over their standard deviation.

        Args:
            pictures: to measure it on [n, 3, h, w] in [-1, 1].
        """
        self.latent_scale.fill_(1.0)
        self.latent_scale.fill_(round(1 / float(self.encode(pictures).std()), 4))

    def take_vae(self, place: Path) -> bool:
        """Take over the autoencoder of `read_vae`.

        Args:
            place: a run of the stage vae, or a folder.

        Returns:
            Whether the latents' scale is known with it.

        Raises:
            WeightsError: it does not fit.
        """
        weights, scale = read_vae(place)
        try:
            checkpoints.fill(self.vae, weights)
        except WeightsError as error:
            raise WeightsError(f"{place} does not fit this size's VAE: give another with --vae.") from error
        if scale is not None:
            self.latent_scale.fill_(scale)
        return scale is not None


def read_vae(place: Path) -> tuple[dict[str, Tensor], float | None]:
    """An autoencoder's weights, and its latents' scale, which a run does not know.

    Args:
        place: a run of the stage `vae`, a pipeline folder, or a diffusers folder of the autoencoder.

    Raises:
        InputError: there is none.
    """
    for folder in (place / "vae", place):
        if (folder / WEIGHTS_FILE).is_file():
            return float_weights(folder / WEIGHTS_FILE), scale_of(folder)
    return checkpoints.find(place).averaged_weights(), None


def float_weights(file: Path) -> dict[str, Tensor]:
    """A safetensors file in single precision.

    Args:
        file: the file.

    Returns:
        Tensors by name.
    """
    return {name: value.float() for name, value in load_file(file).items()}


def scale_of(folder: Path) -> float:
    """The scale of the latents of a VAE.

    Args:
        folder: with its config.json.

    Returns:
        What latents are multiplied by.

    Raises:
        WeightsError: the config is missing or damaged.
    """
    return float(loading.read_json(folder / "config.json").get("scaling_factor", 0.18215))


def scheduler_of(prediction_type: str, published: DDIMScheduler) -> DDIMScheduler:
    """The sampler that goes with what a model predicts.

    Args:
        prediction_type: "epsilon": the published sampler; else the gated one (nano).
        published: for eps.

    Returns:
        The sampler.
    """
    if prediction_type == "epsilon":
        return published
    return GatedDDIMScheduler(
        *BETAS, clip_sample=False, set_alpha_to_one=False, prediction_type=prediction_type,
        timestep_spacing="trailing",
    )  # fmt: skip


def load_backbone(kind: Any, folder: Path) -> dict[str, Tensor]:
    """A network's weights by diffusers' own loader, which knows the old names; strict all the same.

    Args:
        kind: the network's class.
        folder: a diffusers folder.

    Returns:
        Weights by name.

    Raises:
        InputError: the folder holds no such network.
        WeightsError: it is damaged or incomplete.
    """
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} holds no {kind.__name__}: give --backbone a diffusers folder of Stable Diffusion 1.5."
        )
    try:
        network, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{folder} cannot be loaded ({error}); fetch it again.") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(what):
            raise WeightsError(f"{folder}: {len(report[what])} {what.replace('_', ' ')}, such as {report[what][0]}.")
    return dict(network.state_dict())


def backbone_context(folder: Path) -> Tensor:
    """The empty prompt's context: from empty_prompt.safetensors, or by the folder's text encoder.

    Args:
        folder: of Stable Diffusion 1.5.

    Returns:
        [1, tokens, dim].

    Raises:
        InputError: it has neither.
    """
    from mien.interop.text_context import empty_prompt_context, read_context
    from mien.interop.x_portrait import TEXT_ENCODER

    ready = folder / "empty_prompt.safetensors"
    if ready.is_file():
        return read_context(ready)
    encoder = folder / "text_encoder" / "model.safetensors"
    if not encoder.is_file():
        raise InputError(f"{folder} has neither empty_prompt.safetensors nor text_encoder/model.safetensors: add one.")
    state = {f"{TEXT_ENCODER}transformer.{name}": value for name, value in load_file(encoder).items()}
    return empty_prompt_context(state)


def side_by_side(columns: Sequence[Tensor]) -> list[Picture]:
    """Pictures beside each other.

    Args:
        columns: pictures [n, 3, h, w] in [-1, 1] each.

    Returns:
        n uint8 pictures, each with its columns side by side.
    """
    shown = [to_uint8(column) for column in columns]
    return [np.concatenate(row, axis=1) for row in zip(*shown, strict=True)]


def sheet(columns: Sequence[Tensor]) -> Picture:
    """Rows of pictures beside each other.

    Args:
        columns: pictures [n, 3, h, w] in [-1, 1] each.

    Returns:
        One uint8 picture of n rows.
    """
    return np.concatenate(side_by_side(columns))
