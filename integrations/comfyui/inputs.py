"""Inputs and outputs that several nodes have, in ComfyUI's schema V3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

if TYPE_CHECKING:
    from .motion import Sampling

MODEL, PORTRAIT = io.Custom("MIEN_MODEL"), io.Custom("MIEN_PORTRAIT")
CONTROL, KEYFRAMES = io.Custom("MIEN_CONTROL"), io.Custom("MIEN_KEYFRAMES")

GONE_READER = "nano"  # a face reader that saved workflows may name; it is taken as auto
_MOST_SEED = 2**64 - 1  # as everywhere in ComfyUI
_MOVES: dict[str, tuple[float, float, float, float, str]] = {
    "yaw": (0.0, -90.0, 90.0, 1.0, "Degrees; above 0 the nose goes to the picture's right"),
    "pitch": (0.0, -90.0, 90.0, 1.0, "Degrees; above 0 the nose goes down"),
    "roll": (0.0, -90.0, 90.0, 1.0, "Degrees; above 0 counter-clockwise"),
    "x": (0.0, -1.0, 1.0, 0.01, "Sides of the square, to the right"),
    "y": (0.0, -1.0, 1.0, 0.01, "Sides of the square, down"),
    "zoom": (1.0, 0.25, 4.0, 0.01, "How much larger the head gets"),
}
_SLIDERS = {
    "smile": "Smile, or sulk",
    "jaw": "Mouth open, or shut",
    "pucker": "Lips narrow, or wide",
    "blink": "Eyes closed, or wide",
    "brows": "Brows up, or down",
    "gaze_x": "Look to the picture's right, or left",
    "gaze_y": "Look down, or up",
}


def number(name: str, default: float, least: float, most: float, step: float, tip: str) -> Any:
    """A FLOAT input with a widget."""
    return io.Float.Input(name, default=default, min=least, max=most, step=step, round=0.001, tooltip=tip)


def whole_number(name: str, default: int, least: int, most: int, tip: str) -> Any:
    """An INT input with a widget."""
    return io.Int.Input(name, default=default, min=least, max=most, tooltip=tip)


def face_inputs() -> list[Any]:
    """Where the head goes, and the sliders of the expression: see `mien.animation.face_edit.FaceChange`."""
    moves = [number(name, *values) for name, values in _MOVES.items()]
    tip = "{} (above 0, or below); from the portrait's own, 0. For nano"
    return moves + [number(name, 0.0, -1.0, 1.0, 0.05, tip.format(said)) for name, said in _SLIDERS.items()]


def sampling_inputs(note: str = "") -> list[Any]:
    """Seed, steps and guidance of the denoising. note: what is added to their tooltips."""
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=_MOST_SEED,
            control_after_generate=True,
            tooltip=f"Of the noise that denoising begins with{note}",
        ),
        whole_number("steps", 0, 0, 1000, f"Denoising steps; 0: the model's own{note}"),
        number("guidance", -1.0, -1.0, 100.0, 0.1, f"Guidance of the denoising; -1: the model's own{note}"),
    ]


def sampling(seed: int, steps: int, guidance: float) -> Sampling:
    """The values of `sampling_inputs`."""
    from .motion import Sampling

    return Sampling(seed, steps or None, None if guidance < 0 else guidance)


def best_frame_input() -> Any:
    """The frame that is laid over the portrait; -1: found by itself."""
    tip = "The driver's frame that is most like the portrait, from 0; -1: found by itself"
    return whole_number("best_frame", -1, -1, 2**31 - 1, tip)


def watermark_input() -> Any:
    """Whether frames are marked."""
    return io.Boolean.Input("watermark", default=True, optional=True, tooltip="Mark every frame invisibly as synthetic")


def squares_output() -> Any:
    """What the nodes that move a portrait make."""
    return io.Image.Output(display_name="squares", tooltip="The portrait's square, moved; Paste Back puts it back")
