"""`mien motion`: the motion of a clip, read by DeX-Portrait's encoders, as a template that drives portraits."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from mien import faces as face_readers
from mien.animation.dex_portrait import read_clip_motion
from mien.animation.loading import load_pipeline
from mien.animation.motion_template import SUFFIX, MotionTemplate, save_template
from mien.animation.progress import Progress, Silent
from mien.errors import InputError, OutputError
from mien.faces import FaceReader, TrackReport
from mien.jobs.options import MotionOptions
from mien.jobs.run.outputs import checked_place
from mien.media import evened, open_clip
from mien.pipelines.dex_portrait import DeXPortraitPipeline


@dataclass(frozen=True)
class MotionReport:
    """What was read and written."""

    output: Path
    frames: int
    faces: TrackReport
    encoder: str
    warnings: tuple[str, ...] = ()


def extract_motion(
    options: MotionOptions,
    progress: Progress | None = None,
    *,
    pipe: DeXPortraitPipeline | None = None,
    reader: FaceReader | None = None,
) -> MotionReport:
    """Write the motion of a clip as a template.

    Args:
        options: see `MotionOptions`.
        progress: told how many frames are read.
        pipe: loaded already; None: `options.model` is loaded.
        reader: open already; None: `options.reader` is.

    Returns:
        Where it is, and how the faces were read.

    Raises:
        InputError: the clip cannot be read or shows no face.
        OutputError: the template cannot be written.
        WeightsError: the model cannot be loaded.
    """
    progress = progress or Silent()
    output = _output(options)
    with ExitStack() as stack:
        progress.stage("Loading", None)
        clip = evened(open_clip(options.clip, fps=options.fps))  # a template knows frames by number
        if pipe is None:
            pipe = _load(options)
        if reader is None:
            reader = stack.enter_context(closing(face_readers.load_face_reader(options.reader, options.reader_model)))
        motion, faces = read_clip_motion(clip, reader, pipe, progress)
    save_template(MotionTemplate(output, motion, pipe.encoder_id, clip.info.rate), options.clip.name)
    return MotionReport(output, len(motion), faces, pipe.encoder_id, tuple(clip.warnings))


def _load(options: MotionOptions) -> DeXPortraitPipeline:
    model = "dex-nano" if options.model == "nano" else options.model
    pipe = load_pipeline(model, device=options.device, dtype=options.dtype)
    if not isinstance(pipe, DeXPortraitPipeline):
        raise InputError(f"the model {model} has no encoders of motion: name a DeX-Portrait model, such as dex-nano")
    return pipe


def _output(options: MotionOptions) -> Path:
    output = checked_place(options.output)
    if output.is_dir():
        output = output / f"{options.clip.stem}{SUFFIX}"
    if output.suffix.lower() != SUFFIX:
        raise OutputError(f"{output} cannot be written: choose a name that ends in {SUFFIX}.")
    return output
