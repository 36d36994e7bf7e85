"""Our systems as `mien.evaluation.systems.System`, by the names of `mien evaluate run --system`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mien import faces
from mien.errors import InputError
from mien.evaluation.footage import Case, Frames, folder_digest
from mien.evaluation.systems import EVERY, ONE_DRIVER, CopyDriver, CopySource, GroundTruth, Predictions, System
from mien.jobs.evaluate_options import PREDICTIONS, SystemSpec
from mien.media import Clip, ClipInfo


def load_system(spec: SystemSpec) -> System:
    """Load a system to be scored.

    Args:
        spec: which.

    Returns:
        The system.

    Raises:
        WeightsError: its weights cannot be had here.
        InputError: it needs what is not given.
    """
    if spec.kind == PREDICTIONS:
        return Predictions(spec.name, Path(spec.model or ""))
    return KINDS[spec.kind](spec)


class CaseClip(Clip):
    """The driving video of a case as a clip, as `mien animate` takes it."""

    def __init__(self, case: Case) -> None:
        path = Path(f"the driving video of {case.id}")
        count, side = case.frames, case.side
        super().__init__(ClipInfo(path, "folder", side, side, case.rate, frames=count, duration=count / case.rate))
        self._frames = case.driver

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        """See `Clip.timed`."""
        for index, frame in enumerate(self._frames):
            yield frame, index / self.info.rate

    def count(self) -> int:
        """See `Clip.count`."""
        return len(self._frames)


class AnimatorSystem:
    """A model by the very steps of `mien animate`, with its defaults and no others.

    A protocol may set options, which are those of the command: in "self" the first frame, which is the portrait, is
    the one that is laid over it (`--best-frame 0`), and DeX-Portrait's motion counts from it (`--relative`), so that
    the result lies on the ground truth. In "disentangled" the clips are `--pose-from` and `--expression-from`.
    """

    def __init__(self, spec: SystemSpec) -> None:
        from mien.animation.animator import animator_of
        from mien.animation.config import AnimationConfig
        from mien.animation.loading import load_pipeline
        from mien.animation.window_animator import LandmarksWindowAnimator
        from mien.animation.x_portrait import LandmarksAnimator

        self.name, self.kind = spec.name, spec.kind
        self._system = _SYSTEM_OF_KIND.get(spec.kind, "x")
        self._model = spec.model or _BUNDLED.get(spec.kind, "")
        if not self._model:
            raise InputError(f"{spec.kind} has no bundled weights: train it by mien train and give {spec.kind}:FOLDER")
        self.protocols = EVERY if self._system == "dex" else ONE_DRIVER
        pipe, reader = (
            load_pipeline(self._model, device=spec.device),
            faces.load_face_reader(spec.reader, spec.reader_model),
        )
        animator: Callable[..., Any] = animator_of
        if spec.kind == "landmarks":
            animator = LandmarksAnimator if pipe.face_window is None else LandmarksWindowAnimator
        self._animator = animator(pipe, reader)
        if self._animator.system != self._system:
            raise InputError(f"{self._model} is no model of the system {spec.kind}: name another one")
        given = AnimationConfig(seed=spec.seed)
        if self._system != "face-vid2vid":  # nothing is denoised there
            given = replace(given, steps=spec.steps, guidance=spec.guidance)
        self._config = self._animator.resolved(given)

    def describe(self) -> dict[str, Any]:
        """See `System.describe`."""
        pipe, config = self._animator.pipe, asdict(self._config)
        folder = getattr(type(pipe), "find", Path)(self._model)
        about = {"system": self.kind, "model": self._model, "weights": folder_digest(folder)}
        if self._system != "face-vid2vid":
            about |= {key: config[key] for key in ("steps", "guidance", "seed", "window", "overlap")}
        about |= {"reader": self._animator.reader.name, "device": str(pipe.device)}
        about["dtype"] = str(getattr(pipe, "unet", pipe).dtype).removeprefix("torch.")
        return {**about, "motion": "absolute", "self_motion": "relative"} if self._system == "dex" else about

    def key(self, case: Case) -> str:
        """See `System.key`."""
        return ""

    def animate(self, case: Case) -> Frames:
        """See `System.animate`; InputError if there is no face to be found."""
        from mien.animation.driving_motion import Drivers

        config = self._config
        if case.protocol == "self":
            config = replace(config, best_frame=0, relative=self._system == "dex")
        self._animator.set_source([case.source], names=[Path(f"the portrait of {case.id}")])
        driver: Any = CaseClip(case)
        if case.expression is not case.driver:
            driver = Drivers(driver, CaseClip(replace(case, driver=case.expression)))
        motion = self._animator.read_driving(driver, config)
        return np.stack(list(self._animator.frames(motion, config)))

    def close(self) -> None:
        """See `System.close`."""
        self._animator.close()


_BUNDLED = {"x-portrait": "nano", "dex": "dex-nano"}
# what else than X-Portrait stands behind a kind
_SYSTEM_OF_KIND = {"dex": "dex", "face-vid2vid": "face-vid2vid", "face-vid2vid-plus": "face-vid2vid"}
KINDS: dict[str, Callable[[SystemSpec], System]] = {
    "x-portrait": AnimatorSystem,
    "dex": AnimatorSystem,
    "face-vid2vid": AnimatorSystem,
    "face-vid2vid-plus": AnimatorSystem,
    "landmarks": AnimatorSystem,
    "copy-source": lambda _: CopySource(),
    "copy-driver": lambda _: CopyDriver(),
    "ground-truth": lambda _: GroundTruth(),
}
