"""Our systems as `mien.evaluation.systems.System`, by the names of `mien evaluate run --system`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import InputError
from mien.evaluation.footage import Case, Frames, folder_digest
from mien.evaluation.systems import ONE_DRIVER, CopyDriver, CopySource, Predictions, System, Truth
from mien.media import Clip, ClipInfo

if TYPE_CHECKING:
    from mien.faces import FaceReader
    from mien.pipelines.x_portrait import XPortraitPipeline

PREDICTIONS = "predictions"
_FOLDER = re.compile(r"[^A-Za-z0-9_.+-]+")


@dataclass(frozen=True)
class SystemSpec:
    """Which system, in words that can be sent to a worker.

    name: of its run. kind: one of KINDS, or "predictions". model: "nano", a folder or a hub id, None for the kind's
    own; of predictions the folder. The others as in `AnimateOptions`.
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

    @property
    def folder(self) -> str:
        """The name of its folder of results."""
        return _FOLDER.sub("-", self.name).strip("-.") or "run"


def parse_system(text: str, defaults: SystemSpec) -> SystemSpec:
    """[NAME=]KIND[:MODEL], such as x-portrait, or "w/o local=x-portrait:runs/no-local". InputError otherwise."""
    kinds = "|".join(re.escape(kind) for kind in sorted(KINDS, key=len, reverse=True))
    found = re.fullmatch(rf"(?:(.+)=)?({kinds})(?::(.+))?", text)
    if found is None:
        raise InputError(f"there is no system {text!r}: choose one of {', '.join(KINDS)}, or give --predictions")
    name, kind, model = found.groups()
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
        path = Path(f"the driver of {case.id}")
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


class XPortrait:
    """X-Portrait, by the steps of `mien animate` on the benchmark's squares: crop, alignment, paste back and all.

    In "self" the first frame, which is the portrait, is the one that is laid over it.
    """

    protocols = ONE_DRIVER

    def __init__(self, spec: SystemSpec) -> None:
        from mien.faces import load_face_reader
        from mien.jobs.animate import resolve_options
        from mien.jobs.models import load_pipeline
        from mien.jobs.options import AnimateOptions

        options = AnimateOptions(
            portraits=(Path("portrait"),),
            driver=Path("driver"),
            output=Path("result.mp4"),
            model=spec.model or "nano",
            steps=spec.steps,
            guidance=spec.guidance,
            seed=spec.seed,
            device=spec.device,
            reader=spec.reader,
            reader_model=spec.reader_model,
        )
        self.name = spec.name
        self._pipe: XPortraitPipeline = load_pipeline(options)
        self._reader: FaceReader = load_face_reader(options.reader, options.reader_model)
        self._options = resolve_options(options, self._pipe, self._reader)

    def describe(self) -> dict[str, Any]:
        """See `System.describe`."""
        from mien.pipelines.loading import find_folder
        from mien.weights import bundled

        model = self._options.model
        folder = bundled("nano") if model == "nano" else find_folder(model)
        kept = ("model", "steps", "guidance", "seed", "window", "overlap", "reader", "device", "dtype")
        options = {key: value for key, value in asdict(self._options).items() if key in kept}
        return {"system": "x-portrait", "weights": folder_digest(folder), **options}

    def key(self, case: Case) -> str:
        """See `System.key`."""
        return ""

    def animate(self, case: Case) -> Frames:
        """See `System.animate`; InputError if there is no face to be found."""
        import torch

        from mien.jobs.driver import control_frames, place_driver, read_faces
        from mien.jobs.outputs import finished_frames
        from mien.jobs.portrait import find_portrait
        from mien.jobs.progress import Silent

        pipe, options, clip = self._pipe, self._options, CaseClip(case)
        portrait = find_portrait(Path(f"the portrait of {case.id}"), case.source, self._reader, None)
        portrait = portrait.framed(pipe.crop_scale)
        faces, report = read_faces(clip, self._reader, Silent())
        best: int | str = 0 if case.protocol == "self" else "auto"
        track = place_driver(
            faces, report, clip, portrait, best_frame=best, align=True, scale=pipe.crop_scale, reach=pipe.reach
        )
        pipe.set_portrait([portrait.square(pipe.image_size)])
        whole, local = control_frames(clip, track, pipe.image_size)
        squares = pipe.stream(
            whole,
            local,
            num_inference_steps=options.steps,
            guidance_scale=options.guidance,
            window=options.window,
            overlap=options.overlap,
            generator=torch.Generator("cpu").manual_seed(options.seed),
            count=case.frames,
        )
        return np.stack(list(finished_frames(squares, portrait, True)))

    def close(self) -> None:
        """See `System.close`."""
        self._reader.close()


def _not_yet(what: str) -> Callable[[SystemSpec], System]:
    def load(spec: SystemSpec) -> System:
        raise InputError(f"this version of mien cannot run {what}: score its files with --predictions NAME=FOLDER")

    return load


KINDS: dict[str, Callable[[SystemSpec], System]] = {
    "x-portrait": XPortrait,
    "dex": _not_yet("DeX-Portrait"),
    "face-vid2vid": _not_yet("face vid2vid"),
    "face-vid2vid-plus": _not_yet("face vid2vid Plus"),
    "landmarks": _not_yet("the landmark baseline"),
    "copy-source": lambda _: CopySource(),
    "copy-driver": lambda _: CopyDriver(),
    "truth": lambda _: Truth(),
}
