"""Our systems as `mien.evaluation.systems.System`, by the names of `mien evaluate run --system`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import InputError
from mien.evaluation.footage import Case, Frames, folder_digest
from mien.evaluation.systems import EVERY, ONE_DRIVER, CopyDriver, CopySource, Predictions, System, Truth
from mien.geometry import SquareCrop, local_patches
from mien.jobs.options import AnimateOptions
from mien.jobs.run.outputs import fit
from mien.media import Clip, ClipInfo

if TYPE_CHECKING:
    from mien.animation.driving import DriverTrack
    from mien.animation.source import Portrait

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
    """X-Portrait, by the very steps of `mien animate`: crop, alignment, start, denoising, paste back.

    In "self" the first frame, which is the portrait, is the one that is laid over it.
    """

    protocols = ONE_DRIVER
    kind = "x-portrait"

    def __init__(self, spec: SystemSpec) -> None:
        from mien.faces import load_face_reader
        from mien.jobs.animate import resolve_options
        from mien.jobs.models import load_pipeline

        options = _animate_options(spec, spec.model or "nano")
        self.name = spec.name
        self._pipe = load_pipeline(options)
        self._reader = load_face_reader(options.reader, options.reader_model)
        self._options = resolve_options(options, self._pipe, self._reader)

    def describe(self) -> dict[str, Any]:
        """See `System.describe`."""
        from mien.pipelines.loading import find_folder
        from mien.weights import bundled

        model = self._options.model
        folder = bundled("nano") if model == "nano" else find_folder(model)
        kept = ("model", "steps", "guidance", "seed", "window", "overlap", "reader", "device", "dtype")
        options = {key: value for key, value in asdict(self._options).items() if key in kept}
        return {"system": self.kind, "weights": folder_digest(folder), **options}

    def key(self, case: Case) -> str:
        """See `System.key`."""
        return ""

    def animate(self, case: Case) -> Frames:
        """See `System.animate`; InputError if there is no face to be found."""
        from mien.animation.driving import place_driver, read_faces
        from mien.animation.source import find_portrait
        from mien.jobs.run.progress import Silent

        name, clip = Path(f"the portrait of {case.id}"), CaseClip(case)
        portrait = find_portrait(name, case.source, self._reader, None).framed(self._pipe.crop_scale)
        track = place_driver(
            *read_faces(clip, self._reader, Silent()),
            clip,
            portrait,
            best_frame=0 if case.protocol == "self" else "auto",
            align=True,
            scale=self._pipe.crop_scale,
            reach=self._pipe.reach,
        )
        return np.stack(list(self._frames(portrait, clip, track)))

    def _frames(self, portrait: Portrait, clip: CaseClip, track: DriverTrack) -> Iterator[np.ndarray]:
        from mien.animation.driving import control_frames
        from mien.animation.motion_transfer import driven_keypoints, portrait_keypoints

        pipe = self._pipe
        whole, local = control_frames(clip, track, pipe.image_size)
        basis = None if pipe.reenactor is None else pipe.reenactor.basis()
        keypoints = None if basis is None else portrait_keypoints(portrait, basis)
        driven = None if basis is None else driven_keypoints(portrait, track, basis)
        return self._sampled(portrait, whole, local, len(track.faces), keypoints=keypoints, driven=driven)

    def _sampled(
        self,
        portrait: Portrait,
        whole: Iterable[np.ndarray],
        local: Iterable[np.ndarray],
        count: int,
        keypoints: np.ndarray | None = None,
        driven: list[Any] | None = None,
    ) -> Iterator[np.ndarray]:
        """The pipeline's squares for control frames, put back into the portrait."""
        import torch

        from mien.jobs.run.outputs import finished_frames

        options = self._options
        self._pipe.set_portrait([portrait.square(self._pipe.image_size)], keypoints=keypoints)
        squares = self._pipe.stream(
            whole,
            local,
            num_inference_steps=options.steps,
            guidance_scale=options.guidance,
            window=options.window,
            overlap=options.overlap,
            generator=torch.Generator("cpu").manual_seed(options.seed),
            driven=driven,
            count=count,
        )
        return finished_frames(squares, portrait, True)

    def close(self) -> None:
        """See `System.close`."""
        self._reader.close()


class Landmarks(XPortrait):
    """The landmark baseline: X-Portrait trained by `--control landmarks`, which is shown drawn landmarks only."""

    kind = "landmarks"

    def __init__(self, spec: SystemSpec) -> None:
        if spec.model is None:
            raise InputError("the landmark baseline has no bundled weights: train it and give landmarks:FOLDER")
        super().__init__(spec)

    def _frames(self, portrait: Portrait, clip: CaseClip, track: DriverTrack) -> Iterator[np.ndarray]:
        from mien.geometry.draw_landmarks import draw_landmarks

        side = self._pipe.image_size
        drawn, local = [], []
        for face in track.faces:
            points = None if face.reading is None else track.crop.points_in(face.reading.landmarks, 1)
            matrix = track.placement(points)
            if points is not None and matrix is not None:
                points = points @ matrix[:, :2].T + matrix[:, 2]
            blank = np.zeros((side, side, 3), np.uint8)
            drawn.append(blank if points is None else draw_landmarks(points * side, side))
            local.append(local_patches(drawn[-1], None if points is None else points * side))
        return self._sampled(portrait, drawn, local, len(drawn))


class DeX:
    """DeX-Portrait: head pose from the driver, expression from the driver or, in "disentangled", from its own clip.

    Motion is absolute, as in the paper: the head goes where the driver's is. So portrait and driver are cut out by one
    square, which holds all their faces.
    """

    protocols = EVERY

    def __init__(self, spec: SystemSpec) -> None:
        from mien.faces import load_face_reader
        from mien.jobs.models import load_dex_pipeline

        self.name, self._spec = spec.name, spec
        self._model = spec.model or "nano"
        self._pipe = load_dex_pipeline(self._model, spec.device, "auto")
        self._reader = load_face_reader(spec.reader, spec.reader_model)

    def describe(self) -> dict[str, Any]:
        """See `System.describe`."""
        from mien.pipelines.dex_portrait import find_model

        pipe, defaults = self._pipe, self._pipe.default_options
        return {
            "system": "dex",
            "model": self._model,
            "weights": folder_digest(find_model(self._model)),
            "steps": self._spec.steps or defaults["num_inference_steps"],
            "guidance": defaults["guidance_scale"] if self._spec.guidance is None else self._spec.guidance,
            "seed": self._spec.seed,
            "reader": self._reader.name,
            "device": str(pipe.device),
            "dtype": str(pipe.dtype).removeprefix("torch."),
            "motion": "absolute",
        }

    def key(self, case: Case) -> str:
        """See `System.key`."""
        return ""

    def animate(self, case: Case) -> Frames:
        """See `System.animate`; InputError if there is no face to be found."""
        import torch

        from mien.animation.source import find_portrait
        from mien.geometry import driver_crop
        from mien.jobs.run.outputs import finished_frames

        pipe, side = self._pipe, case.side
        portrait = find_portrait(Path(f"the portrait of {case.id}"), case.source, self._reader, None)
        poses = self._landmarks(case, case.driver)
        crop = driver_crop([portrait.reading.landmarks, *poses], side, side, pipe.crop_scale)
        portrait = replace(portrait, crop=crop)
        cut = max(pipe.image_size, 256)
        pipe.set_portrait([portrait.square(cut)], portrait.landmarks)
        pose = pipe.read_motion(_squares(case.driver, poses, crop, cut))
        expression = pose
        if case.expression is not case.driver:
            shapes = self._landmarks(case, case.expression)
            own = driver_crop(shapes, side, side, pipe.crop_scale)
            expression = pipe.read_motion(_squares(case.expression, shapes, own, cut))
        squares = pipe.stream(
            pose,
            expression,
            frames=case.frames,
            num_inference_steps=self._spec.steps,
            guidance_scale=self._spec.guidance,
            generator=torch.Generator("cpu").manual_seed(self._spec.seed),
        )
        return np.stack(list(finished_frames(squares, portrait, True)))

    def _landmarks(self, case: Case, frames: Frames) -> list[np.ndarray]:
        from mien.animation.driving import read_faces
        from mien.jobs.run.progress import Silent

        faces, _ = read_faces(CaseClip(replace(case, driver=frames)), self._reader, Silent())
        found = [face.reading.landmarks for face in faces if face.reading is not None]
        if not found:
            raise InputError(f"no face was found in any frame of a driver of {case.id}")
        return found

    def close(self) -> None:
        """See `System.close`."""
        self._reader.close()


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


def _animate_options(spec: SystemSpec, model: str) -> AnimateOptions:
    return AnimateOptions(
        portraits=(Path("portrait"),),
        driver=Path("driver"),
        output=Path("result.mp4"),
        model=model,
        steps=spec.steps,
        guidance=spec.guidance,
        seed=spec.seed,
        device=spec.device,
        reader=spec.reader,
        reader_model=spec.reader_model,
    )


def _squares(
    frames: Frames, landmarks: Sequence[np.ndarray], crop: SquareCrop, side: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for frame, points in zip(frames, landmarks, strict=True):
        yield crop.extract(frame, side), crop.points_in(points, 1)


KINDS: dict[str, Callable[[SystemSpec], System]] = {
    "x-portrait": XPortrait,
    "dex": DeX,
    "face-vid2vid": FaceVid2Vid,
    "face-vid2vid-plus": FaceVid2Vid,
    "landmarks": Landmarks,
    "copy-source": lambda _: CopySource(),
    "copy-driver": lambda _: CopyDriver(),
    "truth": lambda _: Truth(),
}
