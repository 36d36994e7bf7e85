"""What decides the frames of an animation, beside its inputs and its model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from fractions import Fraction
from typing import Any

from mien.errors import InputError

GAINS = ("eyes_gain", "mouth_gain", "brows_gain", "head_gain")
MOST_GAIN = 4.0
# headings of options
MODEL, MOTION, CONTROL, RESULT, MACHINE = "Model", "Driving video and portrait", "Control", "Result", "Machine"
APART = "Pose and expression apart (DeX-Portrait, such as dex-nano)"
_LONGEST_RATE = 40  # characters


def declared(
    default: Any,
    help: str,
    group: str,
    *,
    least: float | None = None,
    most: float | None = None,
    step: float | None = None,
    flags: tuple[str, ...] = (),
    parse: Callable[[str], Any] | None = None,
) -> Any:
    """A field that front ends show as an option: the one place where it is described.

    Args:
        default: None: the model's own.
        help: a sentence for people.
        group: the heading that it stands under.
        least: the smallest value that makes sense; None, here and below: no limit.
        most: the largest one.
        step: from one value to the next, where it is set by a slider or arrows.
        flags: how it is typed, if not by its name.
        parse: turns what is typed into the value, for fields of several types.
    """
    about = {"help": help, "group": group, "least": least, "most": most, "step": step, "flags": flags, "parse": parse}
    return field(default=default, metadata=about)


def declarations(options: type) -> dict[str, Field[Any]]:
    """The fields of a dataclass that declare an option, by name."""
    return {one.name: one for one in fields(options) if "help" in one.metadata}


def told(one: Field[Any]) -> str:
    """What a front end says of a declared option: its help without the default of the command line."""
    return str(one.metadata["help"]).partition("  [default:")[0]


def parse_best_frame(text: str) -> int | str:
    """ "auto" or a frame number."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f'--best-frame is {text!r}, but it must be a frame number from 0 up or "auto"') from error


@dataclass(frozen=True, kw_only=True)
class AnimationConfig:
    """How a portrait is animated; what each option means says its declaration. None: the model's own default.

    The noise of `seed` is drawn on the CPU, so that a seed means the same on every device. `progressive` holds the
    expression back in the first steps (DeX-Portrait's guidance), else guidance is plain. Raises InputError for values
    that make no sense.
    """

    steps: int | None = declared(None, "Denoising steps.  [default: the model's]", MODEL, least=1, most=1000)
    guidance: float | None = declared(
        None,
        "How strongly portrait and driving video pull; 1: no guidance.  [default: the model's]",
        MODEL,
        least=0,
        most=100,
        step=0.1,
    )
    seed: int = declared(0, "Same seed, same machine: same result.", MODEL, least=0, most=2**64 - 1)
    window: int | None = declared(None, "Frames denoised together.  [default: the model's]", MODEL, least=1, most=1000)
    overlap: int | None = declared(None, "Frames that windows share.  [default: the model's]", MODEL, least=0, most=999)
    best_frame: int | str = declared(
        "auto",
        "The driving video's frame most like the portrait: auto, or a number from 0, counted from --start.",
        MOTION,
        parse=parse_best_frame,
    )
    align: bool = declared(True, "Lay the driving face over the portrait's.", MOTION)
    eyes_gain: float = declared(
        1.0,
        "Lids and gaze: 0 the portrait's own, 1 the driving video's, up to 4.",
        CONTROL,
        least=0,
        most=MOST_GAIN,
        step=0.05,
    )
    mouth_gain: float = declared(1.0, "Mouth, jaw and cheeks, 0 to 4.", CONTROL, least=0, most=MOST_GAIN, step=0.05)
    brows_gain: float = declared(1.0, "Brows, 0 to 4.", CONTROL, least=0, most=MOST_GAIN, step=0.05)
    head_gain: float = declared(1.0, "Turn, place and size, 0 to 4.", CONTROL, least=0, most=MOST_GAIN, step=0.05)
    relative: bool = declared(
        False,
        "Move from the portrait's own pose on, or take the driving video's.",
        CONTROL,
        flags=("--relative/--absolute",),
    )
    smooth: float = declared(0.0, "One-euro filter against jitter, 0 (off) to 1.", CONTROL, least=0, most=1, step=0.05)
    pose_gain: float = declared(
        1.0, "How much of the head's motion is taken over, 0 to 4.", APART, least=0, most=MOST_GAIN, step=0.05
    )
    expression_gain: float = declared(
        1.0, "How much of the expression is taken over, 0 to 4.", APART, least=0, most=MOST_GAIN, step=0.05
    )
    paste_back: bool = declared(True, "Put the result back into the whole portrait.", RESULT)
    progressive: bool = True

    def __post_init__(self) -> None:
        for one in fields(self):
            check_limits(one, getattr(self, one.name))
        if self.best_frame != "auto":
            check_whole_number("--best-frame", self.best_frame, 0, None, ' or "auto"')
        if self.window is not None and self.overlap is not None:
            check_overlap(self.window, self.overlap)
        if self.relative and not self.align:
            raise InputError("--relative counts from the frame that is laid over the portrait: leave --no-align out")

    def changed(self, names: tuple[str, ...]) -> list[str]:
        """Which of these options differ from their defaults, as they are typed."""
        own = [field for field in fields(self) if field.name in names]
        flags = {"align": "--no-align", "paste_back": "--no-paste-back"}
        return [flags.get(f.name, option(f.name)) for f in own if getattr(self, f.name) != f.default]


def check_limits(one: Field[Any], value: Any) -> None:
    """Raise InputError for a value outside of the limits that a field declares."""
    least, most = one.metadata.get("least"), one.metadata.get("most")
    if least is None:
        return
    name = one.metadata["flags"][0] if one.metadata["flags"] else option(one.name)
    if "int" in str(one.type):
        check_whole_number(name, value, least, most)
    else:
        check_number(name, value, least, math.inf if most is None else most)


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
        allowed = f"from {least} up" if most is None or most >= 10**6 else f"from {least} to {most}"
        raise InputError(f"{name} is {value}, but it must be a whole number {allowed}{also}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} is {value!r}, but it must be one of {', '.join(choices)}")
