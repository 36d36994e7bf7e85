"""X-Portrait as an `Animator`: it looks at driving pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mien.animation.animator import Animator
from mien.animation.compositing import start_frames
from mien.animation.config import GAINS, AnimationConfig
from mien.animation.driving import DriverTrack, control_frames, place_driver, read_faces
from mien.animation.driving_motion import Driver, Drivers, DrivingMotion
from mien.animation.person_run import PersonRun
from mien.animation.progress import SILENT, Progress
from mien.animation.source import Portrait
from mien.animation.source_video import SourceVideo
from mien.errors import InputError
from mien.media import Clip, part_of


@dataclass(frozen=True)
class XPortraitMotion(DrivingMotion):
    """tracks: the driving faces laid over those of each person of the source; video: the source video, if it is one."""

    tracks: tuple[DriverTrack, ...]
    video: SourceVideo | None = None


class XPortraitAnimator(Animator):
    """See `Animator`."""

    system = "x"
    refuses: ClassVar[tuple[str, ...]] = (
        "pose_from",
        "expression_from",
        "pose_only",
        "expression_only",
        "pose_gain",
        "expression_gain",
    )
    why = "needs a model that takes pose and expression apart, but {model} takes them together: give --model dex-nano"

    def _set_portrait(self, portraits: Sequence[Portrait]) -> None:
        self.pipe.set_portrait([portrait.square(self.pipe.image_size) for portrait in portraits])

    def read_driving(
        self, driver: Driver | Drivers, config: AnimationConfig, progress: Progress = SILENT
    ) -> XPortraitMotion:
        """See `Animator.read_driving`; driver: one clip."""
        if not isinstance(driver, Clip):
            raise InputError("this model takes pose and expression together: give it one clip, or use dex-nano")
        self.check_config(config)
        source, video = self.source, None
        if source.video is not None:
            video = SourceVideo.read(source.video, source.portraits[0], self.reader, self.pipe.crop_scale, progress)
            # a damaged video may give fewer frames than its index promises
            driver = part_of(driver, end=len(video.crops) / driver.info.rate)
        faces, report = read_faces(driver, self.reader, progress)
        reports = {} if video is None else {video.clip.info.path.name: video.report}
        reports[driver.info.path.name] = report
        placed = [
            place_driver(
                *(faces, report, driver, person),
                best_frame=config.best_frame,
                align=config.align,
                scale=self.pipe.crop_scale,
                limits=self.limits(person, config),
            )
            for person in source.people
        ]
        return XPortraitMotion(
            driver, driver.info, len(faces), reports, placed[0].best_frame, tracks=tuple(placed), video=video
        )

    def check_config(self, config: AnimationConfig) -> None:
        """See `Animator.check_config`: some things only read motion can be given."""
        if self.pipe.face_basis is not None:
            return
        given = config.changed((*GAINS, "smooth", "relative"))
        given += [] if self.source.video is None else [f"the video {self.source.video.info.path} as a source"]
        if given:
            raise InputError(
                f"{given[0]} needs a model that moves by read landmarks, such as nano, but this one looks at the"
                " driving video's pixels: leave it out, or use dex-nano for gains"
            )

    def control_frames(
        self, motion: XPortraitMotion, track: DriverTrack
    ) -> tuple[Iterator[np.ndarray], Iterator[np.ndarray]]:
        """What the networks see of the driving video, whole and in patches.

        Args:
            motion: as it was read.
            track: of one person's.

        Returns:
            Two streams of uint8 [s, s, 3].
        """
        assert motion.clip is not None  # as `read_driving` has it
        return control_frames(motion.clip, track, self.pipe.image_size)

    def _squares(self, run: PersonRun) -> Iterator[np.ndarray]:
        pipe, person, motion = self.pipe, run.person, run.motion
        track = motion.tracks[self.source.number(person)]
        stream: Iterator[np.ndarray] = pipe.stream(
            *self.control_frames(motion, track),
            **self.sampling(run.config),
            start_frames=None if run.start_from is None else start_frames(run.start_from, person, pipe.image_size),
            count=motion.frames,
            **run.telling,
        )
        return stream

    def cost(self, frames: int, config: AnimationConfig) -> Any:
        """See `Animator.cost`."""
        sampling = {name: value for name, value in self.sampling(config).items() if name != "generator"}
        placed = {name: getattr(config, name, "none") for name in ("offload", "quantize")}
        on_cpu = getattr(config, "device", "cpu") == "cpu"
        return self.pipe.cost(frames=frames, references=len(self.source.portraits), on_cpu=on_cpu, **placed, **sampling)


class LandmarksAnimator(XPortraitAnimator):
    """The landmark baseline: X-Portrait trained by `--control landmarks`, which is shown drawn landmarks only."""

    def control_frames(
        self, motion: XPortraitMotion, track: DriverTrack
    ) -> tuple[Iterator[np.ndarray], Iterator[np.ndarray]]:
        """See `XPortraitAnimator.control_frames`."""
        from mien.geometry import local_patches
        from mien.geometry.draw_landmarks import draw_landmarks

        side = self.pipe.image_size
        drawn, local = [], []
        for face in track.faces:
            points = None if face.reading is None else track.crop.points_in(face.reading.landmarks, 1)
            matrix = track.placement(points)
            if points is not None and matrix is not None:
                points = points @ matrix[:, :2].T + matrix[:, 2]
            blank = np.zeros((side, side, 3), np.uint8)
            drawn.append(blank if points is None else draw_landmarks(points * side, side))
            local.append(local_patches(drawn[-1], None if points is None else points * side))
        return iter(drawn), iter(local)
