"""`mien edit --system dex`: one picture in, the same head turned, moved or with another expression out."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mien.animation.face_edit import FaceChange, HeadMove
from mien.animation.source import find_portrait, picture_info, portrait_notes, read_portrait_image
from mien.errors import InputError
from mien.faces import FaceReader, load_face_reader
from mien.jobs.animate import resolve_options
from mien.jobs.dex import DexOptions
from mien.jobs.models import load_dex_pipeline
from mien.jobs.motion import is_template, load_template, read_clip_motion
from mien.jobs.report import AnimateReport
from mien.jobs.run.outputs import finished_frames, resolve_output
from mien.jobs.run.progress import Progress, Silent, TimedProgress
from mien.jobs.run.provenance import Provenance, write_signed_image
from mien.jobs.run.record import write_record
from mien.jobs.run.request_digest import request_digest
from mien.media import open_clip
from mien.models.dex_portrait import Motion, Pose
from mien.models.dex_portrait.pose import code_of_head_pose

if TYPE_CHECKING:
    from mien.pipelines.dex_portrait import DeXPortraitPipeline


@dataclass(frozen=True)
class EditOptions(DexOptions, HeadMove):
    """`DexOptions` for a still, and how its head moves. Make them with `edit_options`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_move()


def edit_options(
    *,
    portrait: Path,
    output: Path,
    expression_from: Path | None = None,
    change: FaceChange | None = None,
    **more: Any,
) -> EditOptions:
    """Options of an edit; change: its move, in place of single numbers.

    Raises InputError if nothing is to change, or what the system does not know.
    """
    if change is not None:
        if change.expresses:
            raise InputError(
                "--smile and the other sliders of the expression are for --system x: give --expression-from with dex"
            )
        more |= {part.name: getattr(change, part.name) for part in fields(HeadMove)}
    options = EditOptions(
        portraits=(portrait,),
        driver=expression_from or portrait,
        output=output,
        expression_from=expression_from,
        relative=False,
        **more,
    )
    if expression_from is None and not options.moves:
        raise InputError("nothing is to change: give --yaw, --pitch, --roll, --x, --y, --scale or --expression-from")
    return options


def edit(
    options: EditOptions,
    progress: Progress | None = None,
    *,
    pipe: DeXPortraitPipeline | None = None,
    reader: FaceReader | None = None,
) -> AnimateReport:
    """Write the changed portrait and its record. Raises InputError, OutputError or WeightsError."""
    timed = TimedProgress(progress or Silent())
    timed.stage("Loading", None)
    image = read_portrait_image(options.portraits[0])
    output, request = resolve_output(options, True), request_digest(options)
    with ExitStack() as stack:
        if pipe is None:
            pipe = load_dex_pipeline(options.model, options.device, options.dtype)
        if reader is None:
            reader = stack.enter_context(closing(load_face_reader(options.reader, options.reader_model)))
        portrait = find_portrait(options.portraits[0], image, reader, options.face_number).framed(pipe.crop_scale)
        options = resolve_options(options, pipe, reader)
        pipe.set_portrait(portrait.square(max(pipe.image_size, 256)), portrait.landmarks)
        expression = _expression(options, pipe, reader, timed)
        timed.stage("Animating", 1.0)
        square = _changed(options, pipe, expression, timed)
    (frame,) = finished_frames([square], portrait, options.paste_back)
    write_signed_image(output, frame, Provenance.of(options, request), options.watermark)
    size = (frame.shape[1], frame.shape[0])
    notes = portrait_notes(options.portraits)
    report = AnimateReport(options, output, None, None, 1, size, shares=timed.shares(), warnings=notes)
    return replace(report, record=write_record(report, picture_info(options.portraits[0], image), request))


def turned_pose(own: Motion, options: EditOptions) -> Motion:
    """The portrait's motion with its pose changed by the options."""
    changed = options.moved(Pose.from_code(own.pose).head_pose())
    return Motion(torch.from_numpy(code_of_head_pose(changed))[None], own.expression)


def _changed(
    options: EditOptions, pipe: DeXPortraitPipeline, expression: Motion | None, progress: Progress
) -> np.ndarray:
    """The square as the model makes it."""
    # without a change of its own the pose stays the very same numbers, so that the warp changes nothing
    pose = turned_pose(pipe.portrait, options) if options.moves else None
    frames = pipe.stream(
        pose,
        expression,
        frames=1,
        gains=options.gains,
        guidance="progressive" if options.progressive else "plain",
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        generator=torch.Generator("cpu").manual_seed(options.seed),
        progress=progress.reach,
    )
    return next(frames)


def _expression(
    options: EditOptions, pipe: DeXPortraitPipeline, reader: FaceReader, progress: Progress
) -> Motion | None:
    """The expression of a picture, or of the first frame of a clip or template."""
    path = options.expression_from
    if path is None:
        return None
    if is_template(path):
        motion = load_template(path, pipe.encoder_id, pipe.expression_encoder.config.code).motion
    else:
        motion, _ = read_clip_motion(open_clip(path), reader, pipe, progress)
    return Motion(motion.pose[:1], motion.expression[:1])
