"""What animators share whose models work on face windows: layers at the portrait's own size around what is painted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Any

import numpy as np

from mien.animation.ahead import Item, ahead, leaving_a_core
from mien.animation.animator import Animator
from mien.animation.config import AnimationConfig
from mien.animation.cutting import NO_PERSON, PersonCutter
from mien.animation.driven_face import DrivenFace, FaceMover
from mien.animation.driving_motion import DrivingMotion
from mien.animation.expression_list import ListedMotion
from mien.animation.layers import HeadLayer
from mien.animation.motion_transfer import portrait_motion
from mien.animation.person_run import PersonCheckpoint, PersonRun
from mien.animation.progress import SILENT, Progress
from mien.animation.source import Portrait
from mien.animation.window_engine import WindowCheckpoint, shown_window, together
from mien.errors import InputError
from mien.geometry import SquareCrop
from mien.geometry.face_window import FaceWindow
from mien.media import Clip
from mien.motion.keypoint_motion import FaceBasis
from mien.motion.motion_limits import MotionLimits
from mien.typing import Picture

_AHEAD = 8  # frames that are made ahead: a window


@dataclass(frozen=True)
class Part:
    """One person's part in a run: where the face goes, and the layers of every frame.

    bare: the same without backgrounds, which is all that a moved window needs; read ahead of `layers`.
    """

    faces: list[DrivenFace]
    bare: Iterable[HeadLayer]
    layers: Iterable[HeadLayer]


class LayeredAnimator(Animator):
    """An animator whose frames are layers: to be put before the animator of a system."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.cutter = PersonCutter()

    def read_list(self, listed: Any) -> DrivingMotion:
        """See `Animator.read_list`."""
        if self.source.video is not None:
            raise InputError("--expressions moves a picture: give a picture as the source")
        return ListedMotion.read(listed, self.reader)

    @property
    def basis(self) -> FaceBasis:
        """Of keypoints."""
        basis: FaceBasis = self.pipe.face_basis
        return basis

    def limits(self, person: Portrait, config: AnimationConfig) -> MotionLimits | None:
        """See `Animator.limits`: heads move over all that is shown; that of a source video also goes its own way."""
        limits = super().limits(person, config)
        if limits is None or self.source.video is not None:
            return limits
        return person.with_room(limits, whole=config.paste_back or len(self.source.people) > 1)

    def mover(self, person: Portrait) -> FaceMover:
        """A person's face, to be put anywhere.

        Args:
            person: of the source.

        Returns:
            What maps motions to keypoints of the person's picture.
        """
        return FaceMover(self.basis, portrait_motion(person), person.crop)

    def own_window(self, person: Portrait) -> FaceWindow:
        """The window of a portrait's face as it is.

        Args:
            person: of the source.

        Returns:
            The window, in pixels of the person's picture.
        """
        return FaceWindow.around(self.mover(person).neutral)

    def shown_windows(self, portraits: Sequence[Portrait]) -> list[Picture]:
        """What pictures show in their windows: how the model is shown the portrait.

        Args:
            portraits: of one person.

        Returns:
            uint8 [w, w, 3] each, w the model's side.
        """
        side = self.pipe.face_window
        return [shown_window(one.image, self.own_window(one), side) for one in portraits]

    def size(self, config: AnimationConfig) -> tuple[int, int]:
        """See `Animator.size`; squares are as large as in the portrait."""
        person = self.source.portraits[0]
        return person.size if config.paste_back else (round(person.crop.size),) * 2

    def frames(
        self,
        motion: Any,
        config: AnimationConfig,
        *,
        progress: Progress = SILENT,
        start_from: Clip | None = None,
        checkpoint: Callable[[Portrait], PersonCheckpoint] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> Iterator[Picture]:
        """See `Animator.frames`."""
        people, painted = self.source.people, []
        for run in self._runs(motion, config, progress, start_from, checkpoint, note):
            kept = None if run.kept is None else WindowCheckpoint(run.kept)
            run = replace(run, kept=kept)
            part = self._part(run)
            windows = self._windows(part, run)
            if self.works_ahead and self.pipe.device.type == "cpu":
                windows = leaving_a_core(windows)
            windows = self.made_ahead(windows)
            painted.append((part.faces, part.layers, windows if kept is None else chain(kept.frames(), windows)))
        # the smaller a face, the further off: who is nearer is laid over who is not
        pictures = together([painted[place] for place in _far_to_near(people)])
        return pictures if config.paste_back or len(people) > 1 else self._cut(pictures, motion)

    @property
    def works_ahead(self) -> bool:
        """Whether frames are made ahead in threads: of one person, for networks and portraits of several are shared."""
        return len(self.source.people) == 1

    def made_ahead(self, items: Iterator[Item]) -> Iterator[Item]:
        """Something of every frame, made ahead where that can be.

        Args:
            items: used by nobody else.

        Returns:
            The same items.
        """
        return ahead(items, _AHEAD) if self.works_ahead else items

    @abstractmethod
    def _part(self, run: PersonRun) -> Part:
        """Where a person's face goes, and in what; the pipeline holds the person."""

    @abstractmethod
    def _windows(self, part: Any, run: PersonRun) -> Iterator[Picture]:
        """What the model paints, packed; all that depends on the portrait is done as it is called."""

    def layer(self, person: Portrait, note: Callable[[str], None] | None = None) -> HeadLayer:
        """A person of a still picture, cut out.

        Args:
            person: of the source.
            note: told in one sentence if that cannot be done.

        Returns:
            The layer; the whole picture where nobody can be cut out.
        """
        others = [one.reading.landmarks for one in self.source.people if one is not person]
        layer = self.cutter.cut(person.image, self.mover(person).keypoints, others)
        if not layer.layered and note is not None:
            note(NO_PERSON.format(name=person.path))
        return layer

    def crops(self, motion: Any) -> Iterator[SquareCrop]:
        """The square around head and shoulders in every picture.

        Args:
            motion: as it was read.

        Returns:
            One a frame.
        """
        return repeat(self.source.portraits[0].crop)

    def _cut(self, pictures: Iterator[Picture], motion: Any) -> Iterator[Picture]:
        """The square around head and shoulders out of every picture, at its own size."""
        for picture, square in zip(pictures, self.crops(motion), strict=False):
            yield square.extract(picture, round(square.size))


def _far_to_near(people: Sequence[Portrait]) -> list[int]:
    """Places of people, by the size of their faces, the smallest first."""
    sizes = [float(np.ptp(person.reading.landmarks, axis=0).max()) for person in people]
    return [int(place) for place in np.argsort(sizes, kind="stable")]
