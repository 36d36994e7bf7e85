"""Driving videos as an animator takes them, and what was read of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, Union

from mien.animation.motion_template import MotionTemplate
from mien.errors import InputError
from mien.faces import TrackReport
from mien.media import Clip, ClipInfo

Driver: TypeAlias = Union[Clip, MotionTemplate]  # noqa: UP007 - evaluated at run time


@dataclass(frozen=True)
class Drivers:
    """Two driving videos, for models that take pose and expression apart; None: the portrait's own is kept."""

    pose: Driver | None
    expression: Driver | None

    @property
    def main(self) -> Driver:
        """The one that gives the result its times: the expression's, or the pose's where the other is a still."""
        first, second = self.expression or self.pose, self.pose or self.expression
        if first is None or second is None:
            raise InputError(
                "nothing drives the portrait: give a driving video of its pose, of its expression, or both"
            )
        return second if length(first) == 1 and length(second) > 1 else first


def length(driver: Driver) -> int:
    """Frames of a driving video.

    Args:
        driver: a clip, which is counted, or a motion template.

    Returns:
        The number of frames.
    """
    return driver.count() if isinstance(driver, Clip) else len(driver.motion)


@dataclass(frozen=True)
class DrivingMotion:
    """What was read of a driving video. Each system adds what it understands of motion.

    Attributes:
        clip: the main driving video's own pictures, to be read once more beside the motion by models that look at
            pixels; None: there is motion only.
        info: the main driving video's.
        frames: how many the result has.
        reports: how the faces were read, by the name of the file or input.
        best_frame: the frame that is laid over the portrait, or from which relative motion counts.
    """

    clip: Clip | None
    info: ClipInfo
    frames: int
    reports: dict[str, TrackReport]
    best_frame: int | None

    @property
    def report(self) -> TrackReport | None:
        """How the main driving faces were read; None: there is motion only."""
        return self.reports.get(self.info.path.name)
