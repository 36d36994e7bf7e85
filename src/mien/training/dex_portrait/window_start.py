"""What the face-window stages of DeX-Portrait start from: above all a trained X-Portrait nano.

The paper starts from Stable Diffusion in the same way.
Both have one backbone. What DeX-Portrait has beyond it (attention on a finer level, ray maps, the warped reference, the
expression attentions) begins as nothing or next to it; X-Portrait's motion controls, which read a driving face's
pixels, are left behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mien.errors import InputError, WeightsError
from mien.models.dex_portrait.expression_attention import ExpressionAttention
from mien.models.dex_portrait.ray_map import CHANNELS as RAY_CHANNELS
from mien.models.dex_portrait.reference_warp import ReferenceWarp
from mien.models.x_portrait import WindowHead
from mien.pipelines import loading
from mien.pipelines.dex_portrait import ENCODERS
from mien.training.dex_portrait.window_model import ALL_PARTS, DexWindowModel
from mien.training.engine import checkpoints
from mien.training.latent_diffusion import WEIGHTS_FILE, float_weights
from mien.training.x_portrait.window_model import LAST

_OF_X = "motion_control"  # a part that X-Portrait has and DeX-Portrait has not
_FAINT = 0.1  # of the weights that new parts would have without a backbone
_TOLD = 0.3  # the same of those that tell the expression
# What X-Portrait's last layers draw is drawn from its motion controls, without which it shuts eyes and draws patches:
# so much is left of it, and the moved portrait is hardly changed at first.
_DRAWN = 0.1
_PAINTED = 6  # channels of the window head's first convolution before the driver's: painted picture and moved portrait
_BLEND = "blend.0.weight"
Weights = Mapping[str, Tensor]


def take_start(model: DexWindowModel, place: Path) -> None:
    """Take over what a place holds, strictly.

    Args:
        model: as `fresh` makes it.
        place: a run of `dex/face-window-encoder` (the encoders alone); a run of the window stages, or a pipeline folder
            that came of one, whose missing temporal modules stay as they are; or a run or a pipeline folder of
            X-Portrait's face-window stages (see `take_x_portrait`).

    Raises:
        InputError: there is nothing to start from.
        WeightsError: something does not fit.
    """
    if (place / "model_index.json").is_file():
        loading.read_index(place)  # models that this version no longer knows are refused
        if (place / _OF_X).is_dir():
            take_x_portrait(model, _of_folder(place))
            return
        for part in ALL_PARTS:
            file = place / part / WEIGHTS_FILE
            if file.is_file():
                checkpoints.fill(model.get_submodule(part), float_weights(file))
        return
    weights = checkpoints.find(place).averaged_weights()
    if any(name.startswith(f"{_OF_X}.") for name in weights):
        take_x_portrait(model, {part: _within(weights, part) for part in ALL_PARTS})
    elif any(name.startswith("unet.") for name in weights):
        checkpoints.fill(model, weights)
    else:
        _take_encoders(model, weights)


def take_encoders(model: DexWindowModel, run: Path) -> None:
    """The encoders of a run of `dex/face-window-encoder`.

    Args:
        model: whose encoders are filled.
        run: its folder.

    Raises:
        InputError: it has no encoders.
        WeightsError: they do not fit.
    """
    weights = checkpoints.find(run).averaged_weights()
    if not _within(weights, ENCODERS[0]):
        raise InputError(f"{run} has no encoders: give --encoders a run of dex/face-window-encoder.")
    _take_encoders(model, weights)


@torch.no_grad()
def take_x_portrait(model: DexWindowModel, given: Mapping[str, Weights]) -> None:
    """Take over the networks of X-Portrait on face windows, but for its motion controls.

    Args:
        model: as `fresh` makes it; its encoders stay.
        given: weights of X-Portrait's parts; without temporal modules the model's own stay.

    Raises:
        WeightsError: it is not of this model's sizes.
    """
    checkpoints.fill(model.empty_prompt, given["empty_prompt"])
    unet, weights = model.get_submodule("unet"), given["unet"]
    _take_backbone(unet, weights)
    # R ends behind its last tokens, here later than there: the rest is the U-Net's, as R is a copy of one
    reference = model.get_submodule("appearance_reference")
    copied = {
        name: weights[name] for name in reference.state_dict() if name in weights and name.startswith("up_blocks.")
    }
    _take_backbone(reference, {**copied, **given["appearance_reference"]})
    _shift_time(reference)
    _take_head(model.window_head, given["window_head"])
    last = (unet.get_submodule("conv_out"), model.window_head.flow, model.window_head.blend[-1])
    for parameter in (one for layer in last for one in layer.parameters()):
        parameter.mul_(_DRAWN)
    if given.get("temporal"):
        checkpoints.fill(model.temporal, given["temporal"])
    for module in model.injection.modules():
        if isinstance(module, ReferenceWarp):
            module.conv.weight.mul_(_FAINT)
        elif isinstance(module, ExpressionAttention):
            module.proj_out.weight.mul_(_TOLD)


def _take_backbone(network: nn.Module, given: Weights) -> None:
    """A U-Net's weights, strictly but for the input channels and transformers that only `network` has."""
    own = network.state_dict()
    taken = dict(given)
    wide, name = own["conv_in.weight"].clone(), "conv_in.weight"
    if wide.shape[1] == given[name].shape[1] + 2 * RAY_CHANNELS:
        wide[:, : given[name].shape[1]] = given[name]
        wide[:, given[name].shape[1] :] *= _FAINT
        taken[name] = wide
    known = {_transformer(name) for name in given}
    for name in set(own) - set(given):
        transformer = _transformer(name)
        if transformer and transformer not in known:
            # what the backbone does not know adds nothing yet
            taken[name] = torch.zeros_like(own[name]) if ".proj_out." in name else own[name]
    checkpoints.fill(network, taken)


def _transformer(name: str) -> str:
    """The spatial transformer that a weight belongs to; empty: to none."""
    return ".".join(name.split(".")[:4]) if ".attentions." in name else ""


def _shift_time(reference: nn.Module) -> None:
    """Let R see at t = 0, where DeX-Portrait asks it, what X-Portrait's saw at the last timestep, where it was asked.

    A sum in front of the first layer of the time embedding is a sum in its bias, so for that timestep this is exact.
    """
    embed, first = reference.get_submodule("time_proj"), reference.get_submodule("time_embedding.linear_1")
    start, last = embed(torch.tensor([0.0, float(LAST)]))
    first.get_parameter("bias").add_(first.get_parameter("weight") @ (last - start))


def _take_head(head: WindowHead, given: Weights) -> None:
    """X-Portrait's window head for one that sees no driver: the moved portrait stands in the driver's place."""
    taken, blend = dict(given), given[_BLEND]
    if blend.shape[1] == head.state_dict()[_BLEND].shape[1] + 3:
        painted, bent, driver, rest = blend.split([3, _PAINTED - 3, 3, blend.shape[1] - _PAINTED - 3], 1)
        taken[_BLEND] = torch.cat([painted, bent + driver, rest], 1)
    checkpoints.fill(head, taken)


def _of_folder(folder: Path) -> dict[str, dict[str, Tensor]]:
    files = {part: folder / part / WEIGHTS_FILE for part in ALL_PARTS}
    given = {part: float_weights(file) for part, file in files.items() if file.is_file()}
    for part in ("empty_prompt", "unet", "appearance_reference", "window_head"):
        if part not in given:
            raise WeightsError(f"{folder} has no {part}: give --start a folder of X-Portrait on face windows.")
    return given


def _take_encoders(model: DexWindowModel, weights: Weights) -> None:
    for part in ENCODERS:
        checkpoints.fill(model.get_submodule(part), _within(weights, part))


def _within(weights: Weights, part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): value for name, value in weights.items() if name.startswith(f"{part}.")}
