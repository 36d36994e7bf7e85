"""Face Vid2Vid as an `Animator`: one pass a frame, by the driver's pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mien.animation.animator import Animator, Config, Driver, Drivers, DrivingMotion
from mien.animation.config import GAINS, AnimationConfig
from mien.animation.driving import DriverTrack, control_frames, place_driver, read_faces
from mien.animation.progress import SILENT, Progress
from mien.animation.source import Portrait
from mien.errors import InputError
from mien.media import Clip
from mien.pipelines.finishing import Checkpoint

_APART = ("pose_from", "expression_from", "pose_only", "expression_only", "pose_gain", "expression_gain")


@dataclass(frozen=True)
class FaceVid2VidMotion(DrivingMotion):
    """tracks: the driving faces laid over those of each person of the source."""

    tracks: tuple[DriverTrack, ...]


class FaceVid2VidAnimator(Animator):
    """See `Animator`. Nothing is denoised: steps, guidance and windows mean nothing here."""

    system = "face-vid2vid"
    refuses = ("fast", "lora", "start_from", "smooth", "steps", "guidance", "window", "overlap", *GAINS, *_APART)
    why = "is for diffusion models such as nano: leave it out with {model}, which is Face Vid2Vid"

    def _set_portrait(self, portraits: Sequence[Portrait]) -> None:
        self.pipe.set_portrait(portraits[0].square(self.pipe.image_size))

    def read_driving(
        self, driver: Driver | Drivers, config: AnimationConfig, progress: Progress = SILENT
    ) -> FaceVid2VidMotion:
        """See `Animator.read_driving`; driver: one clip."""
        if not isinstance(driver, Clip) or self.source.video is not None:
            raise InputError("Face Vid2Vid moves a picture by one clip: give it one of each")
        faces, report = read_faces(driver, self.reader, progress)
        placed = [
            place_driver(
                faces,
                report,
                driver,
                person,
                best_frame=config.best_frame,
                align=config.align,
                scale=self.pipe.crop_scale,
            )
            for person in self.source.people
        ]
        return FaceVid2VidMotion(
            driver, driver.info, len(faces), {driver.info.path.name: report}, placed[0].best_frame, tracks=tuple(placed)
        )

    def _squares(
        self,
        person: Portrait,
        motion: FaceVid2VidMotion,
        config: AnimationConfig,
        *,
        progress: Callable[[float], None],
        start_from: Clip | None,
        kept: Checkpoint | None,
        note: Callable[[str], None] | None,
    ) -> Iterator[np.ndarray]:
        assert motion.clip is not None  # as `read_driving` has it
        track = motion.tracks[self.source.number(person)]
        whole, _ = control_frames(motion.clip, track, self.pipe.image_size)
        relative = {"motion": "relative", "reference": motion.best_frame} if config.relative else {}
        squares = self.pipe.stream(whole, **relative)
        first = 0 if kept is None or (state := kept.state()) is None else state.emitted
        return _told(squares, first, motion.frames, progress)

    def resolved(self, config: Config, *, fast: bool = False) -> Config:
        """See `Animator.resolved`: there is nothing to fill in."""
        return config


def _told(
    squares: Iterator[np.ndarray], first: int, count: int, progress: Callable[[float], None]
) -> Iterator[np.ndarray]:
    for index, square in enumerate(squares):
        progress(min(1.0, (index + 1) / count))
        if index >= first:
            yield square
