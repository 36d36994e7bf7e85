"""Inputs and outputs that several nodes have, in ComfyUI's schema V3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from mien.animation.face_edit import EXPRESSION, FaceChange
from mien.jobs.options import AnimateOptions
from mien.options import declarations

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
    about, name = one.metadata, name or option
    given = {"default": one.default, "tooltip": about["help"].rstrip(".") + note, **more}
    if isinstance(given["default"], bool):
        return io.Boolean.Input(name, **given)
    if isinstance(given["default"], str):
        return io.Combo.Input(name, **{"options": list(about["choices"]), **given})
    given = {"min": about["least"], "max": 2**31 - 1 if about["most"] is None else about["most"], **given}
    if isinstance(given["default"], int):
        return io.Int.Input(name, **given)
    return io.Float.Input(name, step=about["step"], round=0.001, **given)


def face_inputs() -> list[Any]:
    """Where the head goes, and the sliders of the expression."""
    sliders = [one for one in declarations(FaceChange).values() if one.metadata["step"] is not None]
    return [declared(one.name, note=". For nano" if one.metadata["group"] == EXPRESSION else "") for one in sliders]


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
    return declared("best_frame", note="; -1: found by itself", default=-1, min=-1)


def face_input() -> Any:
    """Which face of a picture or video; 0 is the largest."""
    return declared("face", default=0)


def watermark_input() -> Any:
    """Whether frames are marked."""
    return declared("watermark", optional=True)


def squares_output() -> Any:
    """What the nodes that move a portrait make."""
    return io.Image.Output(display_name="squares", tooltip="The portrait's square, moved; Paste Back puts it back")
