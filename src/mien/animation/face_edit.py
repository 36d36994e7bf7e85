"""How a head in a still is to change: turned, moved, and with another expression, all by plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mien.errors import InputError
from mien.faces import EXPRESSION_NAMES
from mien.options import check_declared, check_number, declared

if TYPE_CHECKING:  # these are options of commands, whose help needs no numpy
    import numpy as np
    from numpy.typing import NDArray

    from mien.geometry import HeadPose

# headings of options
HEAD, EXPRESSION = "Head", "Expression"
_INDEX = {name: place for place, name in enumerate(EXPRESSION_NAMES)}


def _both(*stems: str) -> dict[str, float]:
    return {f"{stem}{side}": 1.0 for stem in stems for side in ("Left", "Right")}


# What a slider raises on its way to 1, and on its way to -1. Left and right are the subject's own: the eye on the
# picture's right is the left one, so looking to the picture's right turns it outwards.
SLIDERS: dict[str, tuple[Mapping[str, float], Mapping[str, float]]] = {
    "smile": ({**_both("mouthSmile"), **{name: 0.4 for name in _both("cheekSquint")}}, _both("mouthFrown")),
    "jaw": ({"jawOpen": 1.0}, {}),
    "pucker": ({"mouthPucker": 1.0}, _both("mouthStretch")),
    "blink": (_both("eyeBlink"), _both("eyeWide")),
    "brows": ({"browInnerUp": 1.0, **_both("browOuterUp")}, _both("browDown")),
    "gaze_x": ({"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0}, {"eyeLookInLeft": 1.0, "eyeLookOutRight": 1.0}),
    "gaze_y": (_both("eyeLookDown"), _both("eyeLookUp")),
}


def _degrees(help: str) -> float:
    turn: float = declared(0.0, f"Degrees; {help}.", HEAD, least=-90.0, most=90.0, step=1.0)
    return turn


def _sides(help: str) -> float:
    way: float = declared(0.0, f"{help}, in sides of the face's square.", HEAD, least=-1.0, most=1.0, step=0.01)
    return way


def _slider(help: str) -> float:
    value: float = declared(0.0, f"{help}: from -1 to 1, 0 as it is.", EXPRESSION, least=-1.0, most=1.0, step=0.05)
    return value


def parse_blendshape(text: str) -> tuple[str, float]:
    """A blendshape and its value.

    Args:
        text: "jawOpen=0.5" and the like.

    Returns:
        Name and value, which `FaceChange` checks.

    Raises:
        InputError: for what is not of that form.
    """
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError as error:
        raise InputError(f"--blendshape is {text!r}, but it must be a name and a number such as jawOpen=0.5") from error


@dataclass(frozen=True, kw_only=True)
class HeadMove:
    """Where a head goes; yaw, pitch and roll are added to the portrait's own (see `HeadPose`).

    Raises InputError for values that make no sense.
    """

    yaw: float = _degrees("above 0 the nose goes to the picture's right")
    pitch: float = _degrees("above 0 the nose goes down")
    roll: float = _degrees("above 0 counter-clockwise")
    x: float = _sides("To the right")
    y: float = _sides("Down")
    zoom: float = declared(
        1.0, "How much larger the head gets.", HEAD, least=0.25, most=4.0, step=0.01, flags=("--scale",)
    )

    def __post_init__(self) -> None:
        check_declared(self)

    @property
    def moves(self) -> bool:
        """Whether the head goes anywhere."""
        return (self.yaw, self.pitch, self.roll, self.x, self.y, self.zoom) != (0, 0, 0, 0, 0, 1)

    def moved(self, head: HeadPose) -> HeadPose:
        """The pose that a head ends up in. Without a turn its rotation stays the very same numbers.

        Args:
            head: the portrait's own.

        Returns:
            The pose; places count from the middle of the square, in its half sides.
        """
        import numpy as np

        from mien.geometry import HeadPose

        place = np.asarray(head.translation) + 2 * np.array([self.x, self.y])
        changed = replace(head, translation=place, scale=head.scale * self.zoom)
        if (self.yaw, self.pitch, self.roll) == (0, 0, 0):
            return changed
        turned = HeadPose.from_euler(head.yaw + self.yaw, head.pitch + self.pitch, head.roll + self.roll)
        return replace(changed, rotation=turned.rotation)


@dataclass(frozen=True, kw_only=True)
class FaceChange(HeadMove):
    """A move, and what becomes of the expression.

    The sliders, see SLIDERS, go from -1 to 1 and start from the portrait's own expression, 0; 1 is as far as a face
    goes.

    Attributes:
        gaze_x: to the picture's right.
        gaze_y: down.
        blendshapes: names of EXPRESSION_NAMES with values from 0 to 1, which are then set as they are.

    Raises:
        InputError: for values that make no sense.
    """

    smile: float = _slider("Smile, or sulk")
    jaw: float = _slider("Mouth open, or shut")
    pucker: float = _slider("Lips narrow, or wide")
    blink: float = _slider("Eyes closed, or wide")
    brows: float = _slider("Brows up, or down")
    gaze_x: float = _slider("Look to the picture's right, or left")
    gaze_y: float = _slider("Look down, or up")
    blendshapes: tuple[tuple[str, float], ...] = declared(
        (),
        "Set one of the 52 ARKit blendshapes, such as jawOpen=0.5. Repeat it.",
        EXPRESSION,
        flags=("--score", "--blendshape"),
        parse=parse_blendshape,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in self.blendshapes:
            if name not in _INDEX:
                raise InputError(f"--blendshape {name} is not known: name one of the 52 ARKit shapes, such as jawOpen")
            check_number(f"--blendshape {name}", value, 0, 1)

    @property
    def expresses(self) -> bool:
        """Whether the expression changes."""
        return bool(self.blendshapes) or any(getattr(self, name) != 0 for name in SLIDERS)

    @property
    def is_nothing(self) -> bool:
        """Whether everything stays as it is."""
        return not (self.moves or self.expresses)

    def expressed(self, own: NDArray[np.floating]) -> NDArray[np.float64]:
        """The blendshapes that a face ends up with.

        Args:
            own: the portrait's [52], in the order of EXPRESSION_NAMES.

        Returns:
            [52] in [0, 1].
        """
        import numpy as np

        scores = np.asarray(own, np.float64).copy()
        for name, (up, down) in SLIDERS.items():
            value = getattr(self, name)
            raised, lowered = (up, down) if value >= 0 else (down, up)
            for shape, weight in raised.items():
                scores[_INDEX[shape]] += abs(value) * weight * (1 - scores[_INDEX[shape]])
            for shape in lowered:
                scores[_INDEX[shape]] *= 1 - abs(value)
        for name, value in self.blendshapes:
            scores[_INDEX[name]] = value
        return scores.clip(0, 1)
