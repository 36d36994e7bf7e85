"""`mien edit`: one picture in, the same head turned, moved or with another expression out."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien import faces
from mien.animation.animator import Animator, animator_of
from mien.animation.compositing import pasted
from mien.animation.cutting import NO_PERSON
from mien.animation.dex_portrait import DeXPortraitAnimator, read_clip_motion
from mien.animation.dex_window import DeXWindowAnimator
from mien.animation.face_edit import FaceChange
from mien.animation.image_edit import still_editor
from mien.animation.loading import load_pipeline
from mien.animation.motion_template import is_template, load_template
from mien.animation.progress import Progress, Silent
from mien.animation.source import find_portrait, picture_info, portrait_notes, read_portrait_image
from mien.faces import FaceReader
from mien.jobs.animate import resolve_options
from mien.jobs.edit_options import EditOptions, check_edit, edit_options
from mien.jobs.report import AnimateReport
from mien.jobs.run.outputs import resolve_output
from mien.jobs.run.progress import TimedProgress
from mien.jobs.run.provenance import Provenance, write_signed_image
from mien.jobs.run.record import write_record
from mien.jobs.run.request_digest import request_digest
from mien.media import open_clip
from mien.models.dex_portrait import Motion, Pose
from mien.models.dex_portrait.pose import code_of_head_pose

__all__ = ["EditOptions", "edit", "edit_options", "turned_pose"]


def edit(
    options: EditOptions, progress: Progress | None = None, *, pipe: Any = None, reader: FaceReader | None = None
) -> AnimateReport:
    """Write the changed portrait and its record.

    Args:
        options: what changes.
        progress: told what is being done.
        pipe: a pipeline that is loaded already; it stays open.
        reader: the same for the face reader.

    Raises:
        InputError: for what the user can fix, as OutputError and WeightsError.
    """
    timed = TimedProgress(progress or Silent())
    timed.stage("Loading", None)
    path = options.portraits[0]
    image = read_portrait_image(path)
    output, request = resolve_output(options, True), request_digest(options)
    with ExitStack() as stack:
        if reader is None:
            reader = stack.enter_context(closing(faces.load_face_reader(options.reader, options.reader_model)))
        if pipe is None:
            pipe = load_pipeline(options.model, device=options.device, dtype=options.dtype)
        animator = animator_of(pipe, reader)
        check_edit(options, animator.system, isinstance(animator, DeXWindowAnimator))
        animator.set_source([image], face=options.face_number, names=options.portraits)
        options = resolve_options(options, animator)
        frame, notes = _edited(animator, options, timed)
    write_signed_image(output, frame, Provenance.of(options, animator.system, request), options.watermark)
    timed.update(1.0)
    size, notes = (frame.shape[1], frame.shape[0]), (*portrait_notes(options.portraits), *notes)
    report = AnimateReport(
        options, output, None, None, 1, size, stage_time_fractions=timed.stage_time_fractions(), warnings=notes
    )
    return replace(report, record=write_record(report, picture_info(path, image), request))


def _edited(animator: Animator, options: EditOptions, progress: Progress) -> tuple[np.ndarray, tuple[str, ...]]:
    """The changed portrait, whole or its square: by DeX-Portrait's codes, or by keypoints. And what is to be said."""
    person = animator.source.portraits[0]
    if isinstance(animator, DeXPortraitAnimator):
        expression = _expression_codes(animator, options.expression_from, progress)
        progress.stage("Editing", 1.0)
        if isinstance(animator, DeXWindowAnimator):
            notes: list[str] = []
            whole = animator.edited(options.change, expression, options, notes.append)
            return (whole if options.paste_back else person.crop.extract(whole, round(person.crop.size))), tuple(notes)
        # without a change of its own the pose stays the very same numbers, so that the warp changes nothing
        pose = turned_pose(animator.pipe.portrait, options.change) if options.change.moves else None
        square = next(animator.squares_by_codes(pose, expression, 1, options, progress=progress.update))
        return (next(pasted([square], person)) if options.paste_back else square), ()
    editor = still_editor(animator.pipe, person, options.seed)
    blendshapes, other = None, options.expression_from
    if other is not None:
        reading = find_portrait(other, read_portrait_image(other), animator.reader, None).reading
        blendshapes = editor.mixed(reading.expression, options.expression_gain)
    progress.stage("Editing", 1.0)
    made = editor.picture if options.paste_back else editor.square
    return made(options.change, blendshapes), () if editor.layered else (NO_PERSON.format(name=person.path),)


def turned_pose(own: Motion, change: FaceChange) -> Motion:
    """The portrait's motion with its pose changed.

    Args:
        own: the portrait's codes, one frame.
        change: of the head.

    Returns:
        Codes of one frame.
    """
    changed = change.moved(Pose.from_code(own.pose).head_pose())
    return Motion(torch.from_numpy(code_of_head_pose(changed))[None], own.expression)


def _expression_codes(animator: DeXPortraitAnimator, path: Path | None, progress: Progress) -> Motion | None:
    """The expression of a picture, or of the first frame of a clip or template."""
    if path is None:
        return None
    pipe = animator.pipe
    if is_template(path):
        motion = load_template(path, pipe.encoder_id, pipe.expression_encoder.config.code).motion
    else:
        motion, _ = read_clip_motion(open_clip(path), animator.reader, pipe, progress)
    return Motion(motion.pose[:1], motion.expression[:1])
