"""The one place where a portrait and a driving video become frames, whatever the model.

    animator = load_animator("nano")
    animator.set_source([read_image("portrait.png")])
    motion = animator.read_driving(open_clip("driver.mp4"), config)
    for frame in animator.frames(motion, config): ...

The command, batches, the web UI, the ComfyUI nodes, edits and the evaluation all stand in front of this; X-Portrait,
DeX-Portrait and Face Vid2Vid stand behind it, each in a file of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from mien import faces
from mien.animation.compositing import pasted
from mien.animation.config import AnimationConfig, check_overlap
from mien.animation.driving_motion import Driver, Drivers, DrivingMotion
from mien.animation.frame_stepper import FrameStepper
from mien.animation.loading import SYSTEMS, load_pipeline
from mien.animation.multi_face import composed, shared_updates
from mien.animation.person_run import PersonCheckpoint, PersonRun
from mien.animation.progress import SILENT, Progress
from mien.animation.source import Portrait, Source, find_portrait
from mien.animation.source_video import first_portrait
from mien.errors import InputError
from mien.faces import FaceReader
from mien.media import Clip
from mien.motion.motion_limits import MotionLimits

Config = TypeVar("Config", bound=AnimationConfig)


class Animator(ABC):
    """A model with a face reader. Set a source, read a driving video, take the frames.

    Attributes:
        system: the system's short name, which records keep.
        refuses: fields of the options that this system has no use for.
        why: what to say of them.
    """

    system: ClassVar[str]
    refuses: ClassVar[tuple[str, ...]]
    why: ClassVar[str]

    def __init__(self, pipe: Any, reader: FaceReader) -> None:
        self.pipe, self.reader = pipe, reader
        self._source: Source | None = None
        self._encoded: Portrait | None = None

    # -- the source ------------------------------------------------------------------------------------------------

    @property
    def source(self) -> Source:
        """Who was set."""
        if self._source is None:
            raise InputError("no source is set: call set_source first")
        return self._source

    def set_source(
        self,
        images: Source | Sequence[np.ndarray | Portrait],
        *,
        face: int | None = None,
        names: Sequence[Path] | None = None,
        encode: bool = True,
    ) -> Source:
        """Find the faces and encode the portrait.

        Args:
            images: pictures of one person, uint8 [H, W, 3], or portraits whose faces were found; or a whole `Source`.
            face: which face of the first picture, the largest is 0; None: the clearest.
            names: of the pictures, for messages.
            encode: False: not yet, for a pipeline without weights.

        Raises:
            InputError: where there is no face.
        """
        if not isinstance(images, Source):
            called = names or [Path("the portrait"), *(Path(f"picture {i} of the portrait") for i in range(2, 99))]
            found = [
                one if isinstance(one, Portrait) else find_portrait(name, one, self.reader, None if index else face)
                for index, (name, one) in enumerate(zip(called, images, strict=False))
            ]
            images = Source(tuple(one.framed(self.pipe.crop_scale) for one in found))
        self._source = images
        if encode:
            self._encode(self.source.portraits[0])
        return images

    def set_source_video(self, video: Clip, *, face: int | None = None, encode: bool = True) -> Source:
        """Take a video as the source; its first frame that shows the face is the portrait.

        Args:
            video: of the person.
            face: which face of a frame, the largest is 0; None: the clearest.
            encode: False: not yet, for a pipeline without weights.

        Returns:
            The source.

        Raises:
            InputError: where no frame shows the face.
        """
        portrait = first_portrait(video, self.reader, face).framed(self.pipe.crop_scale)
        return self.set_source(Source((portrait,), video=video), encode=encode)

    def _encode(self, person: Portrait) -> None:
        """Give a person to the pipeline, unless it holds it already."""
        if self._encoded is not person:
            self._encoded = None  # should the encoding fail, the pipeline holds nobody
            portraits = self.source.portraits if person is self.source.portraits[0] else (person,)
            self._set_portrait(portraits)
            self._encoded = person

    @abstractmethod
    def _set_portrait(self, portraits: Sequence[Portrait]) -> None:
        """Have the pipeline encode pictures of one person."""

    # -- the driver ------------------------------------------------------------------------------------------------

    @abstractmethod
    def read_driving(
        self, driver: Driver | Drivers, config: AnimationConfig, progress: Progress = SILENT
    ) -> DrivingMotion:
        """Read the motion of a driving video, for the source that is set.

        Args:
            driver: a clip, or a driving video each for pose and expression, where the system takes them apart.
            config: how it will be animated.
            progress: told how far the reading is.

        Raises:
            InputError: if no frame shows a face, or if the options name a frame that is none.
        """

    def limits(self, person: Portrait, config: AnimationConfig) -> MotionLimits | None:
        """How far the model takes the head of a person of the source, animated so; None: anywhere."""
        limits: MotionLimits | None = getattr(self.pipe, "motion_limits", None)
        return limits

    def read_list(self, listed: Any) -> DrivingMotion:
        """Take a list of expressions in place of a driving video.

        Args:
            listed: an `ExpressionList`, see `mien.animation.expression_list`.

        Returns:
            What `frames` is given.

        Raises:
            InputError: if the model cannot be driven so, or if a picture that the list names shows no face.
        """
        raise InputError(
            "--expressions needs a model that moves by read landmarks, such as nano: choose another --model"
        )

    # -- the frames ------------------------------------------------------------------------------------------------

    def frames(
        self,
        motion: Any,
        config: AnimationConfig,
        *,
        progress: Progress = SILENT,
        start_from: Clip | None = None,
        checkpoint: Callable[[Portrait], PersonCheckpoint] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """The frames, uint8 [h, w, 3], each as soon as it is final, in memory that does not grow with the clip.

        Args:
            motion: what `read_driving` gave.
            config: how to animate.
            progress: told a fraction from 0 to 1.
            start_from: another reenactment's frames, from which the denoising starts.
            checkpoint: makes what keeps a person's finished squares, so that a run that is killed can go on.
            note: gets sentences for the user.

        Returns:
            Whole pictures at the portrait's own size with `config.paste_back`, else squares of the model's side.
        """
        people = self.source.people
        squares: list[Iterator[np.ndarray]] = []
        for run in self._runs(motion, config, progress, start_from, checkpoint, note):
            stream = self._squares(run)
            squares.append(stream if run.kept is None else chain(run.kept.frames(), stream))
        if len(people) > 1:
            return composed(people, squares)
        return self._composited(squares[0], motion) if config.paste_back else squares[0]

    def _runs(
        self,
        motion: Any,
        config: AnimationConfig,
        progress: Progress,
        start_from: Clip | None,
        checkpoint: Callable[[Portrait], PersonCheckpoint] | None,
        note: Callable[[str], None] | None,
    ) -> Iterator[PersonRun]:
        """What `frames` is given, for one person after the other, whom the pipeline holds until the next is asked for.

        A stream keeps what it needs of the portrait that was set as it began.
        """
        progress.stage("Animating", 1.0)
        people = self.source.people
        for person, update in zip(people, shared_updates(progress.update, len(people)), strict=True):
            self._encode(person)
            kept = None if checkpoint is None else checkpoint(person)
            yield PersonRun(person, motion, config, update, start_from, kept, note)

    def _composited(self, squares: Iterator[np.ndarray], motion: Any) -> Iterator[np.ndarray]:
        """Squares laid back into the source, at its own size."""
        return pasted(squares, self.source.portraits[0])

    @abstractmethod
    def _squares(self, run: PersonRun) -> Iterator[np.ndarray]:
        """One person's squares, uint8 [s, s, 3]; all that depends on the portrait is done as it is called."""

    # -- a camera ------------------------------------------------------------------------------------------------

    def live(self) -> FrameStepper:
        """What follows a camera, frame by frame, for the first person of the source that is set now.

        It keeps what it needs of the source: another may be set meanwhile. Raises InputError for models that cannot.
        """
        raise InputError("this model makes its frames from windows of a clip and cannot follow a camera: use nano")

    # -- about -----------------------------------------------------------------------------------------------------

    def size(self, config: AnimationConfig) -> tuple[int, int]:
        """Width and height of the frames.

        Args:
            config: with `paste_back` they are as large as the portrait, else squares.

        Returns:
            (width, height), pixels.
        """
        return self.source.portraits[0].size if config.paste_back else (self.pipe.image_size,) * 2

    def resolved(self, config: Config, *, fast: bool = False) -> Config:
        """The same configuration with every default of the model filled in.

        Args:
            config: None stands for the model's default.
            fast: with the defaults of few steps.

        Returns:
            A copy in which steps, guidance, window and overlap are numbers.

        Raises:
            InputError: for windows that are longer than the model knows, or no longer than their overlap.
        """
        defaults = dict(self.pipe.default_options)
        if fast:
            defaults |= {"num_inference_steps": 4, "guidance_scale": 1.0, **defaults.get("fast", {})}
        window = defaults["window"] if config.window is None else config.window
        # a smaller window that was asked for must not fall over the model's own overlap
        overlap = min(defaults["overlap"], window - 1) if config.overlap is None else config.overlap
        check_overlap(window, overlap)
        if window > (longest := self.pipe.longest_window(window)):
            raise InputError(f"--window is {window}, but this model knows windows of at most {longest} frames")
        steps = defaults["num_inference_steps"] if config.steps is None else config.steps
        guidance = defaults["guidance_scale"] if config.guidance is None else config.guidance
        return replace(config, steps=steps, guidance=guidance, window=window, overlap=overlap)

    def cost(self, frames: int, config: AnimationConfig) -> Any:
        """FLOPs and memory to expect.

        Args:
            frames: of the result.
            config: how it will be animated.

        Returns:
            A `mien.pipelines.cost.Cost`; None where nobody can tell.
        """
        return None

    @classmethod
    def check(cls, config: AnimationConfig, model: str) -> None:
        """Refuse options that this system has no use for, before a model is loaded.

        Args:
            config: what was asked for.
            model: its name, for the message.

        Raises:
            InputError: for the first such option that differs from its default.
        """
        given = config.changed(cls.refuses)
        if given:
            raise InputError(f"{given[0]} {cls.why.format(model=model)}")

    def check_config(self, config: AnimationConfig) -> None:
        """Refuse what this very model, or the source that is set, has no use for.

        Args:
            config: what was asked for.

        Raises:
            InputError: for the first such option.
        """
        return

    def sampling(self, config: AnimationConfig) -> dict[str, Any]:
        """The denoising's options for the pipeline's `stream`.

        Args:
            config: a resolved one.

        Returns:
            Keyword arguments, with a CPU generator that `config.seed` has seeded.
        """
        return {
            "num_inference_steps": config.steps,
            "guidance_scale": config.guidance,
            "window": config.window,
            "overlap": config.overlap,
            "generator": torch.Generator("cpu").manual_seed(config.seed),
        }

    def close(self) -> None:
        """Free the reader."""
        self.reader.close()


def animator_kind(system: str) -> type[Animator]:
    """The class of a system's animators, see `SYSTEMS`.

    Args:
        system: a key of `SYSTEMS`.

    Returns:
        The class; it is imported now.
    """
    kind: type[Animator] = resolve_name(SYSTEMS[system].animator)
    return kind


def animator_of(pipe: Any, reader: FaceReader) -> Animator:
    """An animator around a pipeline and a reader that are loaded already.

    Args:
        pipe: a pipeline of a class that `SYSTEMS` knows.
        reader: reads the faces of source and driving video.

    Returns:
        The system's animator, or its animator for face windows where the model has a window head.
    """
    loaded = type(pipe).__name__
    system = next(one for one in SYSTEMS.values() if one.class_name == loaded)
    windowed = system.window_animator and pipe.face_window is not None
    made: Animator = resolve_name(system.window_animator if windowed else system.animator)(pipe, reader)
    return made


def load_animator(
    model: str = "nano",
    *,
    device: str = "auto",
    dtype: str = "auto",
    fast: bool = False,
    lora: Path | None = None,
    offload: str = "none",
    quantize: str = "none",
    reader: str = "auto",
    reader_model: Path | None = None,
) -> Animator:
    """Load a model and a face reader; which system it is says the model's own index.

    Args:
        model: "nano" (X-Portrait), "dex-nano" (DeX-Portrait), a folder or a hub id.
        device: "auto", "cpu", "cuda" or "mps".
        dtype: "auto", "float32", "float16" or "bfloat16".
        fast: few steps by the LCM sampler.
        lora: LCM weights for it, a .safetensors file.
        offload: "none", "model" or "group": what comes to the device only while it computes.
        quantize: "none", "int8" or "fp8": how the weights of large networks are stored.
        reader: "auto" or "mesh", which is the same.
        reader_model: the reader's weights, if not its own.

    Raises:
        WeightsError: if it cannot be loaded.
        InputError: if there is no such model, device or reader.
    """
    pipe = load_pipeline(model, device=device, dtype=dtype, fast=fast, lora=lora, offload=offload, quantize=quantize)
    return animator_of(pipe, faces.load_face_reader(reader, reader_model))
