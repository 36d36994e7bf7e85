"""Face Vid2Vid as an `Animator`: one pass a frame, by the driving video's pixels, aligned as X-Portrait's are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mien.animation.animator import Animator, Config
from mien.animation.config import GAINS, AnimationConfig
from mien.animation.person_run import PersonRun
from mien.animation.source import Portrait
from mien.animation.x_portrait import XPortraitAnimator, XPortraitMotion
from mien.errors import InputError
from mien.pipelines.finishing import finished_frames


class FaceVid2VidAnimator(XPortraitAnimator):
    """See `Animator`. Nothing is denoised: steps, guidance and windows mean nothing here."""

    system = "face-vid2vid"
    refuses = (
        *XPortraitAnimator.refuses,
        *("fast", "lora", "offload", "quantize", "start_from", "smooth"),
        *("steps", "guidance", "window", "overlap", *GAINS),
    )
    why = "is for other models, such as nano and dex-nano: leave it out with {model}, which is Face Vid2Vid"

    def _set_portrait(self, portraits: Sequence[Portrait]) -> None:
        self.pipe.set_portrait(portraits[0].square(self.pipe.image_size))

    def check_config(self, config: AnimationConfig) -> None:
        """See `Animator.check_config`."""
        if self.source.video is not None:
            raise InputError("a video as a source needs a model that moves by read landmarks, such as nano")

    def _squares(self, run: PersonRun) -> Iterator[np.ndarray]:
        motion: XPortraitMotion = run.motion
        whole, _ = self.control_frames(motion, motion.tracks[self.source.number(run.person)])
        relative = {"motion": "relative", "reference": motion.best_frame} if run.config.relative else {}
        squares = self.pipe.stream(whole, **relative)
        return _told(squares, finished_frames(run.kept), motion.frames, run.progress)

    def resolved(self, config: Config, *, fast: bool = False) -> Config:
        """See `Animator.resolved`: there is nothing to fill in."""
        return config

    def cost(self, frames: int, config: AnimationConfig) -> Any:
        """See `Animator.cost`."""
        return Animator.cost(self, frames, config)


def _told(
    squares: Iterator[np.ndarray], first: int, count: int, progress: Callable[[float], None]
) -> Iterator[np.ndarray]:
    for index, square in enumerate(squares):
        progress(min(1.0, (index + 1) / count))
        if index >= first:
            yield square
