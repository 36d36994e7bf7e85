"""The options of `mien animate`: one dataclass for the command line, Python, the web UI and the saved record."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from mien.animation.config import (
    AnimationConfig,
    check_choice,
    check_number,
    check_whole_number,
    checked_rate,
    parse_rate,
)
from mien.errors import InputError

__all__ = ["AnimateOptions", "animate_options", "check_number", "checked_rate", "model_of", "parse_rate"]

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "float16", "bfloat16")
FAST_STEPS_LIMIT = 50  # what LCM weights are distilled from


@dataclass(frozen=True)
class AnimateOptions(AnimationConfig):
    """What to animate, by what, and how. None means the model's own default. How: see `AnimationConfig`.

    Attributes:
        portraits: images of one person; the first is animated, more are further references. Or one video of that
            person, whose every frame is animated.
        driver: a video, an image, a folder of images, or a track of a motion library, MOTIONS.safetensors#TRACK.
        output: a video or image file, or a folder to put it in.
        model: "nano" (bundled X-Portrait), "dex-nano" (bundled DeX-Portrait), a folder, or a hub id.
        fast: few steps by the LCM sampler.
        lora: LCM weights for it, a .safetensors file, for models that were not made for few steps.
        start_from: a video of another reenactment to start the denoising from.
        face: which face of the portrait, the largest is 0, or "all".
        pose_from: the driver, or template of `mien motion`, of the head pose alone; None: `driver`.
        expression_from: the same for the expression. For models that take both apart, as the next two.
        pose_only: keep the portrait's expression.
        expression_only: keep the portrait's pose.
        start: second of the driver to begin at; end: to end at.
        reader: what reads faces, "auto", "mesh" or "nano"; reader_model: its folder.
        preview: also write driver, portrait and result side by side.
        fps: the rate of the result, or of a driver that is a folder of images.
        watermark: mark every frame invisibly as synthetic.
        device: "auto", "cpu", "cuda" or "mps"; dtype: precision.
        dry_run: say what would run, and write nothing.

    Raises:
        InputError: for values that make no sense.
    """

    portraits: tuple[Path, ...]
    driver: Path
    output: Path
    model: str = "nano"
    fast: bool = False
    lora: Path | None = None
    start_from: Path | None = None
    face: int | str | None = None
    pose_from: Path | None = None
    expression_from: Path | None = None
    pose_only: bool = False
    expression_only: bool = False
    start: float | None = None
    end: float | None = None
    reader: str = "auto"
    reader_model: Path | None = None
    preview: bool = False
    fps: Fraction | None = None
    watermark: bool = True
    device: str = "auto"
    dtype: str = "auto"
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not self.portraits:
            raise InputError("no portrait was given: name one with -s PICTURE")
        super().__post_init__()
        if self.face != "all":
            check_whole_number("--face", self.face, 0, 1000, ' or "all"')
        check_number("--start", self.start, 0, math.inf)
        check_number("--end", self.end, 0, math.inf)
        if self.end is not None and self.end <= (self.start or 0):
            raise InputError(f"--end is {self.end:g}, but it must be later than {self.start or 0:g} seconds")
        if self.fps is not None:
            checked_rate(self.fps)
        check_choice("--device", self.device, DEVICES)
        check_choice("--dtype", self.dtype, DTYPES)
        if self.fast and self.steps is not None and self.steps > FAST_STEPS_LIMIT:
            raise InputError(f"--steps is {self.steps}, but --fast takes at most {FAST_STEPS_LIMIT}")
        if self.face == "all":
            self._check_all_faces()
        if self.lora is not None and not self.fast:
            raise InputError("--lora names weights for few steps: give --fast as well")
        self._check_drivers()

    @property
    def face_number(self) -> int | None:
        """The face that was asked for by its number."""
        return self.face if isinstance(self.face, int) else None

    @property
    def main_driver(self) -> Path:
        """What gives the result its times, its sound and its name."""
        return self.expression_driver or self.driver

    @property
    def pose_driver(self) -> Path | None:
        """What drives the head pose; None: the portrait keeps its own."""
        return None if self.expression_only else self.pose_from or self.driver

    @property
    def expression_driver(self) -> Path | None:
        """What drives the expression; None: the portrait keeps its own."""
        return None if self.pose_only else self.expression_from or self.driver

    def _check_all_faces(self) -> None:
        if len(self.portraits) > 1:
            raise InputError("--face all is for one picture: give one portrait, or name one face by its number")
        for name, given in (("--no-paste-back", not self.paste_back), ("--start-from", self.start_from is not None)):
            if given:
                raise InputError(f"--face all puts every face back into the picture: leave {name} out")

    def _check_drivers(self) -> None:
        if self.pose_only and self.expression_only:
            raise InputError(
                "--pose-only and --expression-only exclude each other: give one of them, or neither for both"
            )
        if self.pose_only and self.expression_from is not None:
            raise InputError("--pose-only keeps the portrait's expression: leave --expression-from out")
        if self.expression_only and self.pose_from is not None:
            raise InputError("--expression-only keeps the portrait's pose: leave --pose-from out")


def animate_options(
    *,
    driver: Path | None,
    pose_from: Path | None = None,
    expression_from: Path | None = None,
    pose_only: bool = False,
    expression_only: bool = False,
    system: str | None = None,
    model: str = "nano",
    **more: Any,
) -> AnimateOptions:
    """Options from what a command line says.

    Args:
        driver: what has no driver of its own; None: the portrait keeps it, or there are both.
        pose_from: see `AnimateOptions`, as the others.
        expression_from: the driver of the expression.
        pose_only: keep the expression.
        expression_only: keep the pose.
        system: the old way to choose DeX-Portrait's bundled model, see `model_of`.
        model: which model.
        more: further options.

    Raises:
        InputError: if nothing drives the portrait, or for options that contradict each other.
    """
    main = driver or (None if pose_only else expression_from) or (None if expression_only else pose_from)
    if main is None:
        raise InputError(
            "nothing drives the portrait, for no driver was given: name a video, an image or a folder of images with"
            " -d DRIVER, or --pose-from and --expression-from"
        )
    apart: dict[str, Any] = {"pose_only": pose_only, "expression_only": expression_only}
    if driver is None:
        apart: dict[str, Any] = {"pose_only": expression_from is None, "expression_only": pose_from is None}
    given: dict[str, Any] = {"pose_from": pose_from, "expression_from": expression_from}
    options = AnimateOptions(driver=main, model=model_of(system, model), **given, **apart, **more)
    check_system(options)
    return options


def check_system(options: AnimateOptions) -> None:
    """Raise InputError for options that the model's system has no use for, if it is known before it is loaded."""
    from mien.animation.animator import animator_kind
    from mien.animation.loading import system_of

    if (system := system_of(options.model)) is not None:
        animator_kind(system).check(options, options.model)


def model_of(system: str | None, model: str) -> str:
    """The model that `--system`, x or dex, meant; it is read from the model now. Raises InputError."""
    if system is None:
        return model
    check_choice("--system", system, ("x", "dex"))
    if system == "dex" and model == "nano":
        return "dex-nano"
    from mien.animation.loading import system_of  # brings torch in

    kind = system_of(model)
    if kind is not None and kind != system:
        raise InputError(f"--system is {system}, but {model} is a model of the other system: leave --system out")
    return model


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
