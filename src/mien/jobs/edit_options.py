"""The options of `mien edit`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.animation.face_edit import EXPRESSION, FaceChange
from mien.errors import InputError
from mien.jobs.options import AnimateOptions, model_of
from mien.options import again, check_number


@dataclass(frozen=True, kw_only=True)
class EditOptions(AnimateOptions):
    """`AnimateOptions` for a still, and what changes in it. Make them with `edit_options`.

    Attributes:
        change: what becomes of the head and of the expression.
        expression_from: for DeX-Portrait also a clip or a template.
        expression_gain: up to 1 with nano.
    """

    face: int | None = again(AnimateOptions, "face", word="", typed="  [default: the clearest]")
    expression_from: Path | None = again(
        AnimateOptions, "expression_from", help="A picture of a face whose expression to take.", group=EXPRESSION
    )
    expression_gain: float = again(
        AnimateOptions, "expression_gain", help="0: the portrait's own, 1: the other face's.", group=EXPRESSION
    )
    change: FaceChange = field(default_factory=FaceChange)

    def __post_init__(self) -> None:
        if str(self.face) == "all":  # one that the type does not allow
            raise InputError("--face all is for mien animate: name one face by its number, 0 is the largest")
        super().__post_init__()


def edit_options(
    *,
    portrait: Path,
    output: Path,
    change: FaceChange,
    expression_from: Path | None = None,
    system: str | None = None,
    model: str = "nano",
    **more: Any,
) -> EditOptions:
    """Options of an edit, as a command line gives them.

    Args:
        portrait: the picture.
        output: where to write.
        change: of head and expression.
        expression_from: a picture, clip or template whose expression is taken first.
        system: the old way to choose DeX-Portrait's bundled model, see `model_of`.
        model: which model.
        more: further options.

    Returns:
        What `edit` is given.

    Raises:
        InputError: if nothing is to change, or the model knows no such change.
    """
    if expression_from is None and change.is_nothing:
        raise InputError("nothing is to change: give --yaw, --smile or another of the sliders (see mien edit --help)")
    options = EditOptions(
        portraits=(portrait,),
        driver=expression_from or portrait,
        output=output,
        model=model_of(system, model),
        change=change,
        expression_from=expression_from,
        **more,
    )
    from mien.animation.loading import on_windows, system_of  # brings torch in

    system = system_of(options.model)
    check_edit(options, system, system == "dex" and on_windows(options.model))
    return options


def check_edit(options: EditOptions, system: str | None, windows: bool) -> None:
    """Refuse what a system does not know.

    Args:
        options: of the edit.
        system: a key of `SYSTEMS`; None: not known before the model is loaded.
        windows: whether the model works on face windows.

    Raises:
        InputError: names the option.
    """
    if system == "dex" and options.change.expresses and not windows:
        raise InputError(
            f"--smile and the other sliders of the expression are for nano: give --expression-from with {options.model}"
        )
    if system == "x":
        check_number("--expression-gain", options.expression_gain, 0, 1)
