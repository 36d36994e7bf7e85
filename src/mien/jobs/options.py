"""The options of `mien animate`: one dataclass for the command line, Python, the web page and the saved record."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mien.errors import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "float16", "bfloat16")
FAST_STEPS_LIMIT = 50  # what LCM weights are distilled from
GAINS = ("eyes_gain", "mouth_gain", "brows_gain", "head_gain")
MOST_GAIN = 4.0
_SEEDS = 2**63
_LONGEST_RATE = 40  # characters


@dataclass(frozen=True)
class AnimateOptions:
    """What to animate, by what, and how. None means the model's own default.

    portraits: images of one person; the first is animated, more are further references. Or one video of that person,
    whose every frame is animated.
    driver: a video, an image, a folder of images, or a track of a motion library, MOTIONS.safetensors#TRACK.
    output: a video or image file, or a folder to put it in.
    model: "nano" (bundled), a folder, or a hub id. steps, guidance: of the denoising. window, overlap: frames that are
    denoised together, and how many of them neighbours share. fast: few steps by the LCM sampler; lora: LCM weights for
    it, a .safetensors file, for models that were not made for few steps.
    best_frame: the driver's frame that is most like the portrait, counted from 0, or "auto". face: which face of the
    portrait, the largest is 0, or "all". start_from: a video of another reenactment to start the denoising from.
    align: lay the driver's face over the portrait's. reader: "auto", "mesh" or "nano", reader_model: its folder.
    eyes_gain, mouth_gain, brows_gain, head_gain: how much of the driver's motion is taken over in each region, 1 as it
    is, 0 not at all, up to 4. relative: the portrait moves from its own pose and expression on, as the driver's changes
    since its best frame say; else it takes on the driver's. smooth: strength of the one-euro filter over time, 0 (off)
    to 1. start, end: seconds of the driver to use. fps: the rate of the result, or of a driver that is a folder of
    images. paste_back: put the result back into the portrait, else write the bare square. watermark: mark every frame
    invisibly as synthetic. Raises InputError for values that make no sense.
    """

    SYSTEM = "x"

    portraits: tuple[Path, ...]
    driver: Path
    output: Path
    model: str = "nano"
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    window: int | None = None
    overlap: int | None = None
    fast: bool = False
    lora: Path | None = None
    start_from: Path | None = None
    best_frame: int | str = "auto"
    align: bool = True
    face: int | str | None = None
    eyes_gain: float = 1.0
    mouth_gain: float = 1.0
    brows_gain: float = 1.0
    head_gain: float = 1.0
    relative: bool = False
    smooth: float = 0.0
    start: float | None = None
    end: float | None = None
    reader: str = "auto"
    reader_model: Path | None = None
    paste_back: bool = True
    preview: bool = False
    fps: Fraction | None = None
    watermark: bool = True
    device: str = "auto"
    dtype: str = "auto"
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not self.portraits:
            raise InputError("no portrait was given: name one with -s PICTURE")
        _whole_number("--steps", self.steps, 1, 1000)
        _whole_number("--window", self.window, 1, 1000)
        _whole_number("--overlap", self.overlap, 0, 999)
        _whole_number("--seed", self.seed, 0, _SEEDS - 1)
        if self.face != "all":
            _whole_number("--face", self.face, 0, 1000, ' or "all"')
        if self.best_frame != "auto":
            _whole_number("--best-frame", self.best_frame, 0, None, ' or "auto"')
        check_number("--guidance", self.guidance, 0, 100)
        for name in GAINS:
            check_number(f"--{name.replace('_', '-')}", getattr(self, name), 0, MOST_GAIN)
        check_number("--smooth", self.smooth, 0, 1)
        check_number("--start", self.start, 0, math.inf)
        check_number("--end", self.end, 0, math.inf)
        if self.end is not None and self.end <= (self.start or 0):
            raise InputError(f"--end is {self.end:g}, but it must be later than {self.start or 0:g} seconds")
        if self.fps is not None:
            checked_rate(self.fps)
        if self.window is not None and self.overlap is not None:
            check_overlap(self.window, self.overlap)
        _one_of("--device", self.device, DEVICES)
        _one_of("--dtype", self.dtype, DTYPES)
        if self.fast and self.steps is not None and self.steps > FAST_STEPS_LIMIT:
            raise InputError(f"--steps is {self.steps}, but --fast takes at most {FAST_STEPS_LIMIT}")
        if self.relative and not self.align:
            raise InputError("--relative counts from the frame that is laid over the portrait: leave --no-align out")
        if self.face == "all":
            self._check_all_faces()
        if self.lora is not None and not self.fast:
            raise InputError("--lora names weights for few steps: give --fast as well")

    @property
    def face_number(self) -> int | None:
        """The face that was asked for by its number."""
        return self.face if isinstance(self.face, int) else None

    def _check_all_faces(self) -> None:
        if len(self.portraits) > 1:
            raise InputError("--face all is for one picture: give one portrait, or name one face by its number")
        for name, given in (("--no-paste-back", not self.paste_back), ("--start-from", self.start_from is not None)):
            if given:
                raise InputError(f"--face all puts every face back into the picture: leave {name} out")


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


def parse_face(text: str) -> int | str:
    """ "all" or the number of a face."""
    if text == "all":
        return text
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f'--face is {text!r}, but it must be a number from 0 up or "all"') from error


def parse_best_frame(text: str) -> int | str:
    """ "auto" or a frame number."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f'--best-frame is {text!r}, but it must be a frame number from 0 up or "auto"') from error


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


def _whole_number(name: str, value: object, least: int, most: int | None, also: str = "") -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        reach = f"from {least} up" if most is None or most >= 10**6 else f"from {least} to {most}"
        raise InputError(f"{name} is {value}, but it must be a whole number {reach}{also}")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} is {value!r}, but it must be one of {', '.join(choices)}")
