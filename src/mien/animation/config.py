"""What decides the frames of an animation, beside its inputs and its model."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from fractions import Fraction

from mien.errors import InputError

GAINS = ("eyes_gain", "mouth_gain", "brows_gain", "head_gain")
MOST_GAIN = 4.0
_SEEDS = 2**63
_LONGEST_RATE = 40  # characters


@dataclass(frozen=True, kw_only=True)
class AnimationConfig:
    """How a portrait is animated. None means the model's own default.

    Attributes:
        steps: of the denoising.
        guidance: scale, 1: none.
        seed: of the noise, which is drawn on the CPU, so that it means the same on every device.
        window: frames that are denoised together.
        overlap: how many of them neighbouring windows share.
        best_frame: the driving frame that is most like the portrait, counted from 0, or "auto".
        align: lay the driving face over the portrait's.
        eyes_gain: how much of the driving motion is taken over by lids and gaze, 0 to 4, 1: as it is.
        mouth_gain: the same for mouth, jaw and cheeks.
        brows_gain: the same for the brows.
        head_gain: the same for turn, place and size of the head.
        relative: the portrait moves from its own pose and expression on, as the driving face changes since its best
            frame; else it takes on the driving face's.
        smooth: strength of the one-euro filter over time, 0 (off) to 1.
        pose_gain: how much of the head's motion, for models that take pose and expression apart.
        expression_gain: how much of the expression, for the same.
        progressive: hold the expression back in the first steps (DeX-Portrait's guidance); else plain guidance.
        paste_back: put the result back into the portrait, else give the bare square.

    Raises:
        InputError: for values that make no sense.
    """

    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    window: int | None = None
    overlap: int | None = None
    best_frame: int | str = "auto"
    align: bool = True
    eyes_gain: float = 1.0
    mouth_gain: float = 1.0
    brows_gain: float = 1.0
    head_gain: float = 1.0
    relative: bool = False
    smooth: float = 0.0
    pose_gain: float = 1.0
    expression_gain: float = 1.0
    progressive: bool = True
    paste_back: bool = True

    def __post_init__(self) -> None:
        check_whole_number("--steps", self.steps, 1, 1000)
        check_whole_number("--window", self.window, 1, 1000)
        check_whole_number("--overlap", self.overlap, 0, 999)
        check_whole_number("--seed", self.seed, 0, _SEEDS - 1)
        if self.best_frame != "auto":
            check_whole_number("--best-frame", self.best_frame, 0, None, ' or "auto"')
        check_number("--guidance", self.guidance, 0, 100)
        for name in (*GAINS, "pose_gain", "expression_gain"):
            check_number(option(name), getattr(self, name), 0, MOST_GAIN)
        check_number("--smooth", self.smooth, 0, 1)
        if self.window is not None and self.overlap is not None:
            check_overlap(self.window, self.overlap)
        if self.relative and not self.align:
            raise InputError("--relative counts from the frame that is laid over the portrait: leave --no-align out")

    def changed(self, names: tuple[str, ...]) -> list[str]:
        """Which of these options differ from their defaults, as they are typed."""
        own = [field for field in fields(self) if field.name in names]
        flags = {"align": "--no-align", "paste_back": "--no-paste-back"}
        return [flags.get(f.name, option(f.name)) for f in own if getattr(self, f.name) != f.default]


def option(name: str) -> str:
    """A field's name as it is typed, such as --eyes-gain."""
    return f"--{name.replace('_', '-')}"


def check_overlap(window: int, overlap: int) -> None:
    """Raise InputError unless neighbouring windows advance."""
    if overlap >= window:
        raise InputError(f"--overlap is {overlap}, but it must be smaller than the window of {window} frames")


def check_number(name: str, value: float | None, least: float, most: float) -> None:
    """Raise InputError unless `value` is None or a finite number from `least` to `most`."""
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not least <= value <= most:
        limits = f"from {least:g} up" if math.isinf(most) else f"from {least:g} to {most:g}"
        raise InputError(f"{name} is {value}, but it must be a number {limits}")


def parse_rate(text: str) -> Fraction:
    """Frames a second as "25", "29.97" or, exactly, "30000/1001"."""
    try:
        if len(text) > _LONGEST_RATE or "e" in text.lower():  # Python would write 1e999999999 out
            raise ValueError(text)
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        shown = text[:_LONGEST_RATE]
        raise InputError(f"--fps is {shown!r}, but it must be a rate such as 25, 29.97 or 30000/1001") from error


def checked_rate(rate: Fraction) -> Fraction:
    """The same rate, or InputError unless a video can have it."""
    if not 0 < rate <= 1000:
        raise InputError(f"--fps is {rate}, but it must be above 0 and at most 1000")
    if max(rate.numerator, rate.denominator) >= 2**31:
        raise InputError(f"--fps is {rate}, too fine for a video file: give it as a simple fraction or decimal")
    return rate


def check_whole_number(name: str, value: object, least: int, most: int | None, also: str = "") -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        reach = f"from {least} up" if most is None or most >= 10**6 else f"from {least} to {most}"
        raise InputError(f"{name} is {value}, but it must be a whole number {reach}{also}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} is {value!r}, but it must be one of {', '.join(choices)}")
