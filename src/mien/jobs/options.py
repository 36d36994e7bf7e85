"""The options of `mien animate`: one dataclass for the command line, Python, the web UI and the saved record."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from mien.animation.config import APART, MACHINE, MODEL, MOTION, RESULT, AnimationConfig
from mien.errors import InputError
from mien.faces.backends import READER_NAMES, check_reader_name
from mien.options import (
    REQUIRED,
    Checked,
    again,
    check_choice,
    check_whole_number,
    checked_rate,
    declared,
    parse_rate,
)

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "float16", "bfloat16")
OFFLOADS = ("none", "model", "group")
QUANTIZATIONS = ("none", "int8", "fp8")
_SEEDS = 2**63
FAST_STEPS_LIMIT = 50  # what LCM weights are distilled from


@dataclass(frozen=True)
class AnimateOptions(AnimationConfig):
    """What to animate, by what, and how; what each option means says its declaration, see also `AnimationConfig`.

    Attributes:
        portraits: images of one person; the first is animated, more are further references. Or one video of that
            person, whose every frame is animated.
        driver: a video, an image, a folder of images, or a track of a motion library, MOTIONS.safetensors#TRACK.
        output: a video or image file, or a folder to put it in.

    Raises:
        InputError: for values that make no sense.
    """

    portraits: tuple[Path, ...]
    driver: Path
    output: Path
    model: str = declared("nano", "nano or dex-nano (bundled), a model folder, or a hub id.", MODEL)
    _: KW_ONLY
    fast: bool = declared(False, "Few steps, by the LCM sampler.", MODEL)
    lora: Path | None = declared(None, "LCM weights (.safetensors) for --fast on full-size models.", MODEL)
    start_from: Path | None = declared(None, "Another reenactment's video to start the denoising from.", MODEL)
    start: float | None = declared(None, "Second of the driving video to begin at.", MOTION, least=0)
    end: float | None = declared(None, "Second of the driving video to end at.", MOTION, least=0)
    face: int | str | None = declared(
        None,
        "Which face of the portrait; 0 is the largest.",
        MOTION,
        least=0,
        most=1000,
        word="all",
        typed="all: every one.  [default: the clearest]",
    )
    reader: str = declared("auto", f"What reads the faces: {' or '.join(READER_NAMES)}.", MOTION)
    reader_model: Path | None = declared(None, "The reader's weights, if not its own.", MOTION)
    expressions: Path | None = declared(
        None, "A list of expressions over time (.yaml), in place of a driving video.", MOTION
    )
    pose_from: Path | None = declared(None, "The driving video of the head pose alone.", APART)
    expression_from: Path | None = declared(None, "The driving video of the expression alone.", APART)
    pose_only: bool = declared(False, "Keep the portrait's expression.", APART)
    expression_only: bool = declared(False, "Keep the portrait's head pose.", APART)
    fps: Fraction | None = declared(
        None,
        "Rate of the result, such as 25 or 30000/1001.  [default: the driving video's]",
        RESULT,
        parse=parse_rate,
    )
    watermark: bool = declared(True, "Mark every frame invisibly as synthetic.", RESULT)
    preview: bool = declared(False, "Also write driving video, portrait and result side by side.", RESULT)
    dry_run: bool = declared(False, "Say what would run and what it costs; write nothing.", RESULT)
    device: str = declared("auto", "auto, cpu, cuda or mps.", MACHINE, choices=DEVICES)
    dtype: str = declared("auto", "auto, float32, float16 or bfloat16.", MACHINE, choices=DTYPES)
    offload: str = declared(
        "none",
        "Keep weights in main memory: none, model (a network at a time is on the GPU) or group (a layer at a time).",
        MACHINE,
        choices=OFFLOADS,
    )
    quantize: str = declared(
        "none",
        "Store weights in 8 bits: none, int8 (linear layers) or fp8 (convolutions too).",
        MACHINE,
        choices=QUANTIZATIONS,
    )

    def __post_init__(self) -> None:
        if not self.portraits:
            raise InputError("no portrait was given: name one with -s PICTURE")
        super().__post_init__()
        check_whole_number("--seed", self.seed, 0, _SEEDS - 1)
        if self.end is not None and self.end <= (self.start or 0):
            raise InputError(f"--end is {self.end:g}, but it must be later than {self.start or 0:g} seconds")
        if self.fps is not None:
            checked_rate(self.fps)
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

    def _check_list(self) -> None:
        """A list goes alone: nothing else drives the portrait, and it has times of its own."""
        given = {
            "--pose-from": self.pose_from,
            "--expression-from": self.expression_from,
            "--pose-only": self.pose_only or None,
            "--expression-only": self.expression_only or None,
            "--start-from": self.start_from,
            "--start": self.start,
            "--end": self.end,
            "--preview": self.preview or None,
            "the driving video": None if self.driver == self.expressions else self.driver,
        }
        for name, value in given.items():
            if value is not None:
                raise InputError(f"--expressions says all that happens: leave {name} out")

    def _check_drivers(self) -> None:
        if self.expressions is not None:
            self._check_list()
        if self.pose_only and self.expression_only:
            raise InputError(
                "--pose-only and --expression-only exclude each other: give one of them, or neither for both"
            )
        if self.pose_only and self.expression_from is not None:
            raise InputError("--pose-only keeps the portrait's expression: leave --expression-from out")
        if self.expression_only and self.pose_from is not None:
            raise InputError("--expression-only keeps the portrait's pose: leave --pose-from out")


@dataclass(frozen=True)
class MotionOptions(Checked):
    """Of `mien motion`; see `AnimateOptions`."""

    clip: Path = declared(REQUIRED, "A video, an image, or a folder of images.", argument=True)
    output: Path = declared(REQUIRED, "The template to write (.safetensors), or a folder.", flags=("-o", "--output"))
    model: str = declared(
        "dex-nano", "dex-nano (bundled), a DeX-Portrait folder or hub id: its encoders read the clip."
    )
    reader: str = again(AnimateOptions, "reader", group="")
    reader_model: Path | None = None
    fps: Fraction | None = declared(None, "Rate of images, such as 25 or 30000/1001.", parse=parse_rate)
    device: str = again(AnimateOptions, "device", group="")
    dtype: str = "auto"


@dataclass(frozen=True)
class ConvertOptions(Checked):
    """Of `mien convert x-portrait`."""

    checkpoint: Path = declared(REQUIRED, "The published checkpoint (.th, .pt, .ckpt or .safetensors).", argument=True)
    output: Path = declared(REQUIRED, "The model folder to make.", argument=True)
    context: Path | None = declared(
        None, "The empty prompt's context (.safetensors), if the checkpoint has no text encoder."
    )
    dtype: str = declared("float32", "float32, float16 or bfloat16.", choices=DTYPES[1:])
    allow_unknown: bool = declared(False, "Leave out keys that belong to no known part; they are reported.")


def unloaded_options(
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
    """Options from what a command line says, as far as they can be checked in no time, without torch.

    Args:
        driver: what has no driving video of its own; None: the portrait keeps it, or there are both.
        pose_from: see `AnimateOptions`, as the others.
        expression_from: the driving video of the expression.
        pose_only: keep the expression.
        expression_only: keep the pose.
        system: the old way to choose DeX-Portrait's bundled model, see `model_of`.
        model: which model.
        more: further options.

    Raises:
        InputError: if nothing drives the portrait, or for options that contradict each other.
    """
    listed = more.get("expressions")
    main = driver or listed or (None if pose_only else expression_from) or (None if expression_only else pose_from)
    if main is None:
        raise InputError(
            "nothing drives the portrait, for no driving video was given: name a video, an image or a folder of images"
            " with -d DRIVER, or --pose-from and --expression-from, or a list with --expressions"
        )
    apart: dict[str, Any] = {"pose_only": pose_only, "expression_only": expression_only}
    if driver is None and listed is None:
        apart = {"pose_only": expression_from is None, "expression_only": pose_from is None}
    given: dict[str, Any] = {"pose_from": pose_from, "expression_from": expression_from}
    options = AnimateOptions(driver=main, model=model_of(system, model), **given, **apart, **more)
    check_reader_name(options.reader)  # not checked by the class: a reader that is passed to `animate` has its own name
    return options


def animate_options(*, driver: Path | None, **given: Any) -> AnimateOptions:
    """`unloaded_options`, checked against the model's system as well.

    Args:
        driver: what drives all that has no driving video of its own.
        given: see `unloaded_options`.

    Returns:
        The options.

    Raises:
        InputError: for what makes no sense, or what the system has no use for.
    """
    options = unloaded_options(driver=driver, **given)
    check_system(options)
    return options


def check_system(options: AnimateOptions) -> None:
    """Refuse options that the model's system has no use for, if it is known before it is loaded.

    Args:
        options: as they were given.

    Raises:
        InputError: names the option.
    """
    from mien.animation.animator import animator_kind
    from mien.animation.loading import system_of

    if (system := system_of(options.model)) is not None:
        animator_kind(system).check(options, options.model)


def model_of(system: str | None, model: str) -> str:
    """The model that `--system` meant, which is read from the model now.

    Args:
        system: "x" or "dex"; None: not given.
        model: as it was given.

    Returns:
        The model's name.

    Raises:
        InputError: the model is of the other system.
    """
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
