"""What decides the frames of an animation, beside its inputs and its model."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mien.errors import InputError
from mien.options import check_declared, declared, typed_name

GAINS = ("eyes_gain", "mouth_gain", "brows_gain", "head_gain")
MOST_GAIN = 4.0
# headings of options
MODEL, MOTION, CONTROL, RESULT, MACHINE = "Model", "Driving video and portrait", "Control", "Result", "Machine"
APART = "Pose and expression apart (DeX-Portrait, such as dex-nano)"


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
        "The driving video's frame most like the portrait, counted from 0.",
        MOTION,
        least=0,
        word="auto",
        typed="0 is the frame at --start; auto: found by itself.",
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
        check_declared(self)
        if self.window is not None and self.overlap is not None:
            check_overlap(self.window, self.overlap)
        if self.relative and not self.align:
            raise InputError("--relative counts from the frame that is laid over the portrait: leave --no-align out")

    def changed(self, names: tuple[str, ...]) -> list[str]:
        """Which of these options differ from their defaults, as they are typed.

        Args:
            names: of fields.

        Returns:
            Flags such as --eyes-gain, or --no-align.
        """
        own = [field for field in fields(self) if field.name in names]
        flags = {"align": "--no-align", "paste_back": "--no-paste-back"}
        return [flags.get(f.name, typed_name(f.name)) for f in own if getattr(self, f.name) != f.default]


def check_overlap(window: int, overlap: int) -> None:
    """Refuse windows that do not advance.

    Args:
        window: frames.
        overlap: frames that neighbours share.

    Raises:
        InputError: unless the overlap is smaller.
    """
    if overlap >= window:
        raise InputError(f"--overlap is {overlap}, but it must be smaller than the window of {window} frames")
