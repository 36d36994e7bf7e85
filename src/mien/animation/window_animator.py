"""X-Portrait made for face windows, as an `Animator`: nano. Layers at the portrait's own size around what it paints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat, tee
from typing import Any

from mien.animation.compositing import start_pictures
from mien.animation.config import AnimationConfig
from mien.animation.driven_face import driven_faces
from mien.animation.expression_list import ListedMotion, listed_faces
from mien.animation.frame_stepper import FrameStepper
from mien.animation.layered import LayeredAnimator, Part
from mien.animation.layers import HeadLayer
from mien.animation.live_window import WindowStepper
from mien.animation.motion_transfer import TransferSettings
from mien.animation.person_run import PersonRun
from mien.animation.source import Portrait
from mien.animation.window_engine import View, drawn_landmarks, window_driver, window_drivers
from mien.animation.x_portrait import XPortraitAnimator
from mien.geometry import SquareCrop
from mien.pipelines.finishing import finished_frames
from mien.typing import Picture


class WindowAnimator(LayeredAnimator, XPortraitAnimator):
    """See `Animator`."""

    def _set_portrait(self, portraits: Sequence[Portrait]) -> None:
        self.pipe.set_portrait(self.shown_windows(portraits))

    def _part(self, run: PersonRun) -> Part:
        person, motion, note = run.person, run.motion, run.note
        if isinstance(motion, ListedMotion):
            layer = self.layer(person, note)
            return Part(listed_faces(self.mover(person), motion), repeat(layer), repeat(layer))
        control = TransferSettings.of(run.config, motion.info.rate)
        track = motion.tracks[self.source.number(person)]
        if motion.video is not None:
            faces, own = motion.video.driven_faces(person, track, self.basis, control)
            video, layered = motion.video.clip, self.layer(person, note).layered
            cut = (self.cutter.cut(image, points, layered=layered) for image, points in zip(video, own, strict=False))
            return Part(faces, map(HeadLayer, video, own), cut)
        faces = driven_faces(person, track, self.basis, control)
        if run.start_from is not None:
            # another reenactment's pictures show the face where it must be already
            places = [face.keypoints for face in faces]
            first, again = (map(HeadLayer, start_pictures(run.start_from, person), places) for _ in range(2))
            return Part(faces, first, again)
        layer = self.layer(person, note)
        return Part(faces, repeat(layer), repeat(layer))

    def live(self) -> FrameStepper:
        """See `Animator.live`."""
        person = self.source.portraits[0]
        return WindowStepper(self.pipe, person, self.layer(person), self.limits(person, AnimationConfig()))

    def _windows(self, part: Part, run: PersonRun) -> Iterator[Picture]:
        motion, sides = run.motion, (self.pipe.face_window, self.pipe.local_size)
        # without a driving video the model is shown the moved face itself, and a performer where its expression changes
        frames = repeat(None) if motion.clip is None else motion.clip
        finished = finished_frames(run.kept)
        drivers = window_drivers(part.faces, part.bare, frames, sides, finished, self._view())
        rows = tee(self.made_ahead(drivers), 3)
        stream: Iterator[Picture] = self.pipe.stream(
            (row.whole for row in rows[0]),
            (row.parts for row in rows[1]),
            **self.sampling(run.config),
            start_frames=(row.moved for row in rows[2]),
            count=motion.frames,
            **run.telling,
        )
        return stream

    def _view(self) -> View:
        """What the model is shown of a frame."""
        return window_driver

    def crops(self, motion: Any) -> Iterator[SquareCrop]:
        """See `LayeredAnimator.crops`."""
        video = getattr(motion, "video", None)
        return super().crops(motion) if video is None else iter(video.crops)


class LandmarksWindowAnimator(WindowAnimator):
    """The landmark baseline: nano trained by `mien train x-portrait/face-window --control landmarks`."""

    def _view(self) -> View:
        return drawn_landmarks
