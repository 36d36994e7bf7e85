"""X-Portrait made for face windows, as an `Animator`: nano. Layers at the portrait's own size around what it paints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat, tee
from typing import Any

import numpy as np

from mien.animation.animator import PersonCheckpoint
from mien.animation.compositing import start_pictures
from mien.animation.config import AnimationConfig
from mien.animation.cutting import NO_PERSON, PersonCutter
from mien.animation.driven_face import DrivenFace, FaceMover, driven_faces
from mien.animation.frame_stepper import FrameStepper
from mien.animation.layers import HeadLayer
from mien.animation.live_nano import WindowStepper
from mien.animation.motion_transfer import MotionControl, portrait_motion
from mien.animation.multi_face import shared_updates
from mien.animation.progress import SILENT, Progress
from mien.animation.source import Portrait
from mien.animation.window_engine import Picture, WindowCheckpoint, shown_window, together, window_drivers
from mien.animation.x_portrait import XPortraitAnimator, XPortraitMotion
from mien.geometry.face_window import FaceWindow
from mien.media import Clip
from mien.motion.keypoint_motion import FaceBasis


@dataclass(frozen=True)
class _Part:
    """One person's part in a run: where the face goes, and the layers of every frame.

    bare: the same without backgrounds, which is all that a moved window needs; read ahead of `layers`.
    """

    faces: list[DrivenFace]
    bare: Iterable[HeadLayer]
    layers: Iterable[HeadLayer]


class WindowAnimator(XPortraitAnimator):
    """See `Animator`."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.cutter = PersonCutter()

    @property
    def basis(self) -> FaceBasis:
        """Of keypoints."""
        basis: FaceBasis = self.pipe.face_basis
        return basis

    def mover(self, person: Portrait) -> FaceMover:
        """A person's face, to be put anywhere."""
        return FaceMover(self.basis, portrait_motion(person), person.crop)

    def _set_portrait(self, portraits: Sequence[Portrait]) -> None:
        side = self.pipe.face_window
        self.pipe.set_portrait(
            [shown_window(one.image, FaceWindow.around(self.mover(one).neutral), side) for one in portraits]
        )

    def size(self, config: AnimationConfig) -> tuple[int, int]:
        """See `Animator.size`; squares are as large as in the portrait."""
        person = self.source.portraits[0]
        return person.size if config.paste_back else (round(person.crop.size),) * 2

    def frames(
        self,
        motion: XPortraitMotion,
        config: AnimationConfig,
        *,
        progress: Progress = SILENT,
        start_from: Clip | None = None,
        checkpoint: Callable[[Portrait], PersonCheckpoint] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> Iterator[Picture]:
        """See `Animator.frames`."""
        progress.stage("Animating", 1.0)
        people = self.source.people
        painted = []
        for person, update in zip(people, shared_updates(progress.update, len(people)), strict=True):
            # encoded one after the other: a stream keeps what it needs of the portrait that was set as it began
            self._encode(person)
            kept = None if checkpoint is None else WindowCheckpoint(checkpoint(person))
            part = self._part(person, motion, config, start_from, note)
            windows = self._windows(part, motion, config, update, kept, note)
            painted.append((part.faces, part.layers, windows if kept is None else chain(kept.frames(), windows)))
        # the smaller a face, the further off: who is nearer is laid over who is not
        pictures = together([painted[place] for place in _far_to_near(people)])
        return pictures if config.paste_back or len(people) > 1 else self._cut(pictures, motion)

    def _part(
        self,
        person: Portrait,
        motion: XPortraitMotion,
        config: AnimationConfig,
        start_from: Clip | None,
        note: Callable[[str], None] | None,
    ) -> _Part:
        control = MotionControl.of(config, motion.info.rate)
        track = motion.tracks[self.source.number(person)]
        if motion.video is not None:
            faces, own = motion.video.driven_faces(person, track, self.basis, control)
            video, layered = motion.video.clip, self.layer(person, note).layered
            cut = (self.cutter.cut(image, points, layered=layered) for image, points in zip(video, own, strict=False))
            return _Part(faces, map(HeadLayer, video, own), cut)
        faces = driven_faces(person, track, self.basis, control)
        if start_from is not None:
            # another reenactment's pictures show the face where it must be already
            places = [face.keypoints for face in faces]
            first, again = (map(HeadLayer, start_pictures(start_from, person), places) for _ in range(2))
            return _Part(faces, first, again)
        layer = self.layer(person, note)
        return _Part(faces, repeat(layer), repeat(layer))

    def layer(self, person: Portrait, note: Callable[[str], None] | None = None) -> HeadLayer:
        """A person of a still picture, cut out. note: told if that cannot be done."""
        others = [one.reading.landmarks for one in self.source.people if one is not person]
        layer = self.cutter.cut(person.image, self.mover(person).keypoints, others)
        if not layer.layered and note is not None:
            note(NO_PERSON.format(name=person.path))
        return layer

    def live(self) -> FrameStepper:
        """See `Animator.live`."""
        person = self.source.portraits[0]
        return WindowStepper(self.pipe, person, self.layer(person))

    def _windows(
        self,
        part: _Part,
        motion: XPortraitMotion,
        config: AnimationConfig,
        progress: Callable[[float], None],
        kept: WindowCheckpoint | None,
        note: Callable[[str], None] | None,
    ) -> Iterator[Picture]:
        assert motion.clip is not None  # as `read_driving` has it
        sides = (self.pipe.face_window, self.pipe.local_size)
        done = None if kept is None else kept.state()
        finished = 0 if done is None else done.emitted
        rows = tee(window_drivers(part.faces, part.bare, motion.clip, sides, finished), 3)
        stream: Iterator[Picture] = self.pipe.stream(
            (row.whole for row in rows[0]),
            (row.parts for row in rows[1]),
            **self.sampling(config),
            start_frames=(row.moved for row in rows[2]),
            count=motion.frames,
            progress=progress,
            checkpoint=kept,
            note=note,
        )
        return stream

    def _cut(self, pictures: Iterator[Picture], motion: XPortraitMotion) -> Iterator[Picture]:
        """The square around head and shoulders out of every picture, at its own size."""
        crop = self.source.portraits[0].crop
        crops = repeat(crop) if motion.video is None else iter(motion.video.crops)
        for picture, square in zip(pictures, crops, strict=False):
            yield square.extract(picture, round(square.size))


def _far_to_near(people: Sequence[Portrait]) -> list[int]:
    """Places of people, by the size of their faces, the smallest first."""
    sizes = [float(np.ptp(person.reading.landmarks, axis=0).max()) for person in people]
    return [int(place) for place in np.argsort(sizes, kind="stable")]
