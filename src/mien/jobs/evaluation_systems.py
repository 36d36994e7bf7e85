"""Our systems as `mien.evaluation.systems.System`, by the names of `mien evaluate run --system`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mien import faces
from mien.animation.compositing import fit
from mien.errors import InputError
from mien.evaluation.footage import Case, Frames, folder_digest
from mien.evaluation.systems import EVERY, ONE_DRIVER, CopyDriver, CopySource, GroundTruth, Predictions, System
from mien.faces.backends import check_reader_name
from mien.media import Clip, ClipInfo

PREDICTIONS = "predictions"
_OLD_KINDS = {"truth": "ground-truth"}  # names of the first release
_FOLDER = re.compile(r"[^A-Za-z0-9_.+-]+")


@dataclass(frozen=True)
class SystemSpec:
    """Which system, in words that can be sent to a worker.

    name: of its run. kind: one of KINDS, or "predictions". model: "nano", a folder or a hub id, None for the kind's
    own; of predictions the folder. The others as in `AnimateOptions`. Raises InputError for an unknown reader.
    """

    name: str
    kind: str
    model: str | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    device: str = "auto"
    reader: str = "auto"
    reader_model: Path | None = None

    def __post_init__(self) -> None:
        check_reader_name(self.reader)

    @property
    def folder(self) -> str:
        """The name of its folder of results."""
        return _FOLDER.sub("-", self.name).strip("-.") or "run"


def parse_system(text: str, defaults: SystemSpec) -> SystemSpec:
    """[NAME=]KIND[:MODEL], such as x-portrait, or "w/o local=x-portrait:runs/no-local". InputError otherwise."""
    kinds = "|".join(re.escape(kind) for kind in sorted((*KINDS, *_OLD_KINDS), key=len, reverse=True))
    found = re.fullmatch(rf"(?:(.+)=)?({kinds})(?::(.+))?", text)
    if found is None:
        raise InputError(f"there is no system {text!r}: choose one of {', '.join(KINDS)}, or give --predictions")
    name, given, model = found.groups()
    kind = _OLD_KINDS.get(given, given)
    return replace(defaults, name=name or kind, kind=kind, model=model)


def parse_predictions(text: str) -> SystemSpec:
    """NAME=FOLDER, or a FOLDER that gives its name. InputError if there is no such folder."""
    name, folder = "", text
    if not Path(text).is_dir():
        name, _, folder = text.partition("=")
    if not folder or not Path(folder).is_dir():
        raise InputError(f"{folder or text} is no folder: give --predictions NAME=FOLDER with a video for each pair")
    return SystemSpec(name or Path(folder).resolve().name, PREDICTIONS, folder)


def load_system(spec: SystemSpec) -> System:
    """Load it. Raises WeightsError or InputError with one sentence if it cannot be had here."""
    if spec.kind == PREDICTIONS:
        return Predictions(spec.name, Path(spec.model or ""))
    return KINDS[spec.kind](spec)


class CaseClip(Clip):
    """The driver of a case as a clip, as `mien animate` takes it."""

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
    """A model by the very steps of `mien animate`.

    In "self" the first frame, which is the portrait, is the one that is laid over it. There DeX-Portrait's motion
    counts from it as well, so that the result lies on the ground truth.
    """

    def __init__(self, spec: SystemSpec) -> None:
        from mien.animation.animator import animator_of
        from mien.animation.config import AnimationConfig
        from mien.animation.loading import load_pipeline
        from mien.animation.x_portrait import LandmarksAnimator

        if spec.kind == "landmarks" and spec.model is None:
            raise InputError("the landmark baseline has no bundled weights: train it and give landmarks:FOLDER")
        self.name, self.kind = spec.name, spec.kind
        dex = spec.kind == "dex"
        self.protocols = EVERY if dex else ONE_DRIVER
        self._model = spec.model or ("dex-nano" if dex else "nano")
        pipe, reader = (
            load_pipeline(self._model, device=spec.device),
            faces.load_face_reader(spec.reader, spec.reader_model),
        )
        self._animator = LandmarksAnimator(pipe, reader) if spec.kind == "landmarks" else animator_of(pipe, reader)
        wanted = "dex" if dex else "x"
        if self._animator.system != wanted:
            raise InputError(f"{self._model} is no model of the system {spec.kind}: name another one")
        given = AnimationConfig(steps=spec.steps, guidance=spec.guidance, seed=spec.seed)
        self._config = self._animator.resolved(given)

    def describe(self) -> dict[str, Any]:
        """See `System.describe`."""
        pipe, config = self._animator.pipe, asdict(self._config)
        about = {"system": self.kind, "model": self._model, "weights": folder_digest(type(pipe).find(self._model))}
        about |= {key: config[key] for key in ("steps", "guidance", "seed", "window", "overlap")}
        about |= {"reader": self._animator.reader.name, "device": str(pipe.device)}
        about["dtype"] = str(pipe.unet.dtype).removeprefix("torch.")
        return {**about, "motion": "absolute", "self_motion": "relative"} if self.kind == "dex" else about

    def key(self, case: Case) -> str:
        """See `System.key`."""
        return ""

    def animate(self, case: Case) -> Frames:
        """See `System.animate`; InputError if there is no face to be found."""
        from mien.animation.animator import Drivers

        config = self._config
        if case.protocol == "self":
            config = replace(config, best_frame=0, relative=self.kind == "dex")
        self._animator.set_source([case.source], names=[Path(f"the portrait of {case.id}")])
        driver: Any = CaseClip(case)
        if case.expression is not case.driver:
            driver = Drivers(driver, CaseClip(replace(case, driver=case.expression)))
        motion = self._animator.read_driving(driver, config)
        return np.stack(list(self._animator.frames(motion, config)))

    def close(self) -> None:
        """See `System.close`."""
        self._animator.close()


class FaceVid2Vid:
    """Face vid2vid, the paper's 𝓕, or 𝓕 Plus, from a folder that `mien train face-vid2vid` exported."""

    protocols = ONE_DRIVER

    def __init__(self, spec: SystemSpec) -> None:
        if spec.model is None:
            raise InputError(f"{spec.kind} has no bundled weights: train it by mien train and give {spec.kind}:FOLDER")
        if not Path(spec.model).is_dir():
            raise InputError(f"{spec.model} is no folder: give {spec.kind} one that mien train face-vid2vid exported")
        try:
            from mien.pipelines.face_vid2vid import load_reenactor
        except ImportError as error:
            raise InputError("this version of mien has no face vid2vid: score its files with --predictions") from error
        self.name, self._kind, self._folder = spec.name, spec.kind, Path(spec.model)
        self._reenact = load_reenactor(self._folder)

    def describe(self) -> dict[str, Any]:
        """See `System.describe`."""
        return {"system": self._kind, "model": self._folder.name, "weights": folder_digest(self._folder)}

    def key(self, case: Case) -> str:
        """See `System.key`."""
        return ""

    def animate(self, case: Case) -> Frames:
        """See `System.animate`."""
        made = self._reenact(case.source, list(case.driver))
        return np.stack([fit(np.asarray(frame, np.uint8), case.side, case.side) for frame in made])

    def close(self) -> None:
        """Nothing is held."""


KINDS: dict[str, Callable[[SystemSpec], System]] = {
    "x-portrait": AnimatorSystem,
    "dex": AnimatorSystem,
    "face-vid2vid": FaceVid2Vid,
    "face-vid2vid-plus": FaceVid2Vid,
    "landmarks": AnimatorSystem,
    "copy-source": lambda _: CopySource(),
    "copy-driver": lambda _: CopyDriver(),
    "ground-truth": lambda _: GroundTruth(),
}
