"""Inputs and outputs that several nodes have, in ComfyUI's schema V3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from mien.animation.config import declarations, told
from mien.animation.face_edit import EXPRESSION, FaceChange
from mien.jobs.options import AnimateOptions

if TYPE_CHECKING:
    from .motion import Sampling

MODEL, PORTRAIT = io.Custom("MIEN_MODEL"), io.Custom("MIEN_PORTRAIT")
CONTROL, KEYFRAMES = io.Custom("MIEN_CONTROL"), io.Custom("MIEN_KEYFRAMES")

GONE_READER = "nano"  # a face reader that saved workflows may name; it is taken as auto
_OPTIONS = {**declarations(AnimateOptions), **declarations(FaceChange)}


def number(name: str, default: float, least: float, most: float, step: float, tip: str) -> Any:
    """A FLOAT input with a widget."""
    return io.Float.Input(name, default=default, min=least, max=most, step=step, round=0.001, tooltip=tip)


def whole_number(name: str, default: int, least: int, most: int, tip: str) -> Any:
    """An INT input with a widget."""
    return io.Int.Input(name, default=default, min=least, max=most, tooltip=tip)


def declared(option: str, name: str = "", note: str = "", **more: Any) -> Any:
    """An option's input: its default, its limits and its words are those of its declaration.

    Args:
        option: a field of `AnimateOptions` or `FaceChange`.
        name: the input's, if not the option's.
        note: what is added to the tooltip.
        more: what an input has otherwise than the option. A widget has no None: where that is the default, it is a
            number below all others, or 0.
    """
    one = _OPTIONS[option]
    given = {"default": one.default, "tooltip": told(one).rstrip(".") + note, **more}
    if isinstance(given["default"], bool):
        return io.Boolean.Input(name or option, **given)
    given = {"min": one.metadata["least"], "max": one.metadata["most"], **given}
    if isinstance(given["default"], int):
        return io.Int.Input(name or option, **given)
    return io.Float.Input(name or option, step=one.metadata["step"], round=0.001, **given)


def choice(option: str, values: Sequence[str], note: str = "", **more: Any) -> Any:
    """The input of an option that is one of some words; see `declared`."""
    one = _OPTIONS[option]
    return io.Combo.Input(
        option, options=list(values), default=one.default, tooltip=told(one).rstrip(".") + note, **more
    )


def face_inputs() -> list[Any]:
    """Where the head goes, and the sliders of the expression."""
    changes = declarations(FaceChange)
    return [
        declared(name, note=". For nano" if one.metadata["group"] == EXPRESSION else "")
        for name, one in changes.items()
    ]


def sampling_inputs(note: str = "") -> list[Any]:
    """Seed, steps and guidance of the denoising. note: what is added to their tooltips."""
    return [
        declared("seed", note=note, control_after_generate=True),
        declared("steps", note=f"; 0: the model's own{note}", default=0, min=0),
        declared("guidance", note=f"; -1: the model's own{note}", default=-1.0, min=-1.0),
    ]


def sampling(seed: int, steps: int, guidance: float) -> Sampling:
    """The values of `sampling_inputs`."""
    from .motion import Sampling

    return Sampling(seed, steps or None, None if guidance < 0 else guidance)


def best_frame_input() -> Any:
    """The frame that is laid over the portrait; -1: found by itself."""
    tip = "The driving video's frame that is most like the portrait, from 0; -1: found by itself"
    return whole_number("best_frame", -1, -1, 2**31 - 1, tip)


def face_input() -> Any:
    """Which face of a picture or video; 0 is the largest."""
    return whole_number("face", 0, 0, 1000, "Which face of the picture or video; 0 is the largest")


def watermark_input() -> Any:
    """Whether frames are marked."""
    return declared("watermark", optional=True)


def squares_output() -> Any:
    """What the nodes that move a portrait make."""
    return io.Image.Output(display_name="squares", tooltip="The portrait's square, moved; Paste Back puts it back")
