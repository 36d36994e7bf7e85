"""The networks of the face-window model as they are trained, and what they make of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.models.sd_backbone.appearance_reference import AppearanceReference
from mien.models.sd_backbone.empty_prompt import EmptyPrompt
from mien.models.sd_backbone.patch_autoencoder import PatchAutoencoder
from mien.models.sd_backbone.temporal import TemporalModules
from mien.models.x_portrait import WindowChange, WindowHead, XPortraitConfig, XPortraitNetworks, build
from mien.models.x_portrait.denoiser import DenoisingUNet
from mien.models.x_portrait.motion_control import MotionControl
from mien.pipelines import loading
from mien.training.latent_diffusion import WEIGHTS_FILE, LatentModel, float_weights
from mien.training.x_portrait.face_windows import WindowBatch
from mien.training.x_portrait.losses import read_appearance, scheduler_for
from mien.training.x_portrait.model import wake_controls

PARTS = (
    "vae",
    "empty_prompt",
    "appearance_reference",
    "motion_control",
    "local_control",
    "unet",
    "temporal",
    "window_head",
)
SPATIAL = tuple(part for part in PARTS if part not in ("vae", "temporal"))
LAST = 999  # the timestep of pure noise


class FaceWindowModel(LatentModel):
    """All networks under one roof; there is no VAE to train."""

    vae: PatchAutoencoder
    empty_prompt: EmptyPrompt
    appearance_reference: AppearanceReference
    motion_control: MotionControl
    local_control: MotionControl
    unet: DenoisingUNet
    temporal: TemporalModules
    window_head: WindowHead

    def __init__(self, networks: XPortraitNetworks) -> None:
        super().__init__()
        for part in PARTS:
            setattr(self, part, getattr(networks, part))
        self.keep_scale(1.0)

    def networks(self, without: tuple[str, ...] = ()) -> XPortraitNetworks:
        """The networks as inference uses them.

        Args:
            without: optional ones that are left out: "local_control", "temporal".

        Returns:
            The networks.
        """
        parts: dict[str, Any] = {part: None if part in without else getattr(self, part) for part in PARTS}
        return XPortraitNetworks(**parts)


def fresh(seed: int, config: XPortraitConfig) -> FaceWindowModel:
    """Random networks that learn quickly from nothing: at first the moved portrait is hardly changed.

    Args:
        seed: of the weights.
        config: sizes.

    Returns:
        The model.
    """
    torch.manual_seed(seed)
    model = FaceWindowModel(build(config))
    for control in (model.motion_control, model.local_control):
        wake_controls(control)
    nn.init.normal_(model.empty_prompt.context, std=0.5)
    nn.init.zeros_(model.unet.conv_out.weight)
    if model.unet.conv_out.bias is not None:
        nn.init.zeros_(model.unet.conv_out.bias)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def change_of(
    nets: XPortraitNetworks,
    given: WindowBatch,
    noise: Tensor,
    times: Tensor,
    learning: bool = True,
) -> WindowChange:
    """What the networks do to the moved portraits of a batch.

    Args:
        nets: maybe without local control or temporal modules.
        given: r sources, f targets each.
        noise: [r f, c, h, w].
        times: timesteps [r f]; the targets are noised to them.
        learning: R keeps its gradients.
    """
    encode = nets.vae.encode
    clean, source = encode(given.target).latent_dist.mode(), encode(given.source).latent_dist.mode()
    scheduler = scheduler_for("sample")
    noisy = scheduler.scale_model_input(scheduler.add_noise(clean, noise, times), times)
    frames = len(given.target) // len(given.source)
    reference = read_appearance(nets, source, torch.full_like(times[: len(source)], LAST), learning)
    controls = nets.read_motion(given.driver, None if nets.local_control is None else given.local)
    moved = encode(given.moved).latent_dist.mode()
    return nets.change(noisy, times, frames if nets.temporal is not None else 1, reference, controls, moved)[0]


def read_start(place: Path, model: FaceWindowModel) -> dict[str, Tensor]:
    """Weights of an exported pipeline folder; parts that it lacks stay as they are.

    Args:
        place: the folder.
        model: that will be filled.

    Returns:
        By name.

    Raises:
        WeightsError: it is of release 0.1.
    """
    loading.read_index(place)
    own = dict(model.state_dict())
    for part in PARTS:
        file = place / part / WEIGHTS_FILE
        if file.is_file():
            own |= {f"{part}.{name}": value for name, value in float_weights(file).items()}
    return own
