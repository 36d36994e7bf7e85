"""The official X-Portrait checkpoint into our parts, strictly: every key is used, or named in the report.

The official loader is `strict=False` and would drop a misspelt motion module without a word; here a missing, unknown or
misshapen key is an error that names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mien.errors import WeightsError
from mien.interop import constants
from mien.interop.keys import Target, key_map
from mien.models.x_portrait import XPortraitConfig, XPortraitNetworks, build

TEXT_ENCODER = "cond_stage_model."
# prefixes that the animation does not need, and why
UNUSED = {
    "appearance_control_model.input_hint_block.": "never called: R is given no hint",
    TEXT_ENCODER: "only the empty prompt is ever encoded; one constant tensor replaces the encoder",
    "model_ema.": "running averages kept for training",
}

Parts = dict[str, dict[str, Tensor]]


@dataclass
class ConversionReport:
    """What became of every official key.

    Attributes:
        used: name to part/name.
        constants: names of those that equal their formula and are not stored.
        unused: name to reason.
        parameters: how many each part has.
        context: where the empty prompt's embedding comes from.
    """

    used: dict[str, str] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    context: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: getattr(self, name) for name in ("parameters", "context", "unused", "constants", "used")}

    def summary(self) -> str:
        """A few lines for the terminal."""
        total = sum(self.parameters.values())
        lines = [f"{len(self.used)} keys used, {total / 1e6:,.1f} million parameters"]
        lines += [f"  {part:22}{count / 1e6:10,.1f} million" for part, count in self.parameters.items()]
        lines.append(f"{len(self.constants)} constant buffers equal to their formulae, not stored")
        for reason, count in Counter(self.unused.values()).items():
            first = next(name for name, why in self.unused.items() if why == reason)
            lines.append(f"{count} keys unused ({first}, ...): {reason}")
        lines.append(f"empty prompt: {self.context}")
        return "\n".join(lines)


def convert(
    state: Mapping[str, Tensor],
    config: XPortraitConfig,
    context: Tensor,
    context_from: str = "given",
    allow_unknown: bool = False,
) -> tuple[Parts, ConversionReport]:
    """Official entries to the state dicts of our parts. Tensors are shared with `state`, not copied.

    Args:
        state: of the official checkpoint.
        config: of our networks.
        context: what the text encoder makes of the empty prompt [1, tokens, dim].
        context_from: where `context` comes from, for the report.
        allow_unknown: report keys that are in no known model instead of refusing them.

    Raises:
        WeightsError: that names missing, unknown or misshapen keys and constants that deviate from their formulae.
    """
    targets = key_map(config)
    report = ConversionReport(context=context_from)
    report.constants = [name for name in state if constants.is_constant(name)]
    _sort_out_the_rest([name for name in state if name not in targets], report, allow_unknown)
    _refuse("missing", [name for name in targets if name not in state])
    _refuse("misshapen", [_misfit(name, state[name], t) for name, t in targets.items() if not _fits(state[name], t)])
    wrong = constants.differing({name: state[name] for name in report.constants})
    _refuse("with other constants than X-Portrait's", [f"{name} (by {error:.1e})" for name, error in wrong.items()])
    parts: Parts = {part: {} for part in build_meta(config)}
    for name, target in targets.items():
        parts[target.part][target.name] = state[name].reshape(target.shape)
        report.used[name] = f"{target.part}/{target.name}"
    parts["empty_prompt"]["context"] = _checked_context(context, config)
    report.parameters = {part: sum(t.numel() for t in tensors.values()) for part, tensors in parts.items()}
    return parts, report


def assemble(parts: Parts, config: XPortraitConfig, dtype: torch.dtype | None = None) -> XPortraitNetworks:
    """Networks that hold the converted tensors, cast to `dtype` where one is given; strict, in eval mode.

    A part's entry in `parts` is emptied once it is placed, so that a cast checkpoint is not held twice.
    """
    networks = build_meta(config)
    for part, network in networks.items():
        tensors = parts[part]
        for name, buffer in network.named_buffers():
            if name.endswith("pos_embed.pe"):
                tensors[name] = torch.from_numpy(constants.position_table(*buffer.shape[1:])).float()
        for name, value in tensors.items():
            tensors[name] = value.to(dtype) if dtype is not None else value
        network.load_state_dict(tensors, strict=True, assign=True)
        network.requires_grad_(False).eval()
        tensors.clear()
    return XPortraitNetworks(**networks)


def build_meta(config: XPortraitConfig) -> dict[str, Any]:
    """The parts of a configuration without memory behind them."""
    with torch.device("meta"):
        return {part: network for part, network in vars(build(config)).items() if network is not None}


def _fits(tensor: Tensor, target: Target) -> bool:
    shape = tuple(tensor.shape)
    # the VAE's attention is written with 1 x 1 convolutions there and with linear layers here
    pointwise = target.part == "vae" and ".attentions." in target.name and shape == (*target.shape, 1, 1)
    return (shape == target.shape or pointwise) and tensor.is_floating_point()


def _misfit(name: str, tensor: Tensor, target: Target) -> str:
    return f"{name} ({str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}, wanted {list(target.shape)})"


def _sort_out_the_rest(names: list[str], report: ConversionReport, allow_unknown: bool) -> None:
    unknown = []
    for name in names:
        reason = next((why for prefix, why in UNUSED.items() if name.startswith(prefix)), None)
        if reason is not None:
            report.unused[name] = reason
        elif not constants.is_constant(name):
            unknown.append(name)
    if not allow_unknown:
        _refuse("unknown", unknown)
    report.unused.update(dict.fromkeys(unknown, "unknown"))


def _refuse(problem: str, names: list[str]) -> None:
    if names:
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        raise WeightsError(f"the checkpoint has {len(names)} {problem} keys: {shown}.")


def _checked_context(context: Tensor, config: XPortraitConfig) -> Tensor:
    wanted = (1, config.context_tokens, config.context_dim)
    if tuple(context.shape) != wanted:
        raise WeightsError(f"the empty prompt's context has shape {list(context.shape)}, wanted {list(wanted)}.")
    return context
