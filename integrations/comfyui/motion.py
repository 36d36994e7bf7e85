"""Moving a portrait: by a driver, by two of them, or by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.animation.driving import control_frames, place_driver, read_faces
from mien.animation.face_edit import FaceChange
from mien.animation.image_edit import StillEditor
from mien.animation.motion_transfer import MotionControl, driven_keypoints
from mien.errors import InputError
from mien.faces import read_portrait
from mien.jobs.edit import edit_options, turned_pose
from mien.jobs.motion import read_clip_motion
from mien.models.dex_portrait import Gains, Motion, Pose
from mien.models.dex_portrait.driving import nearest_pose
from mien.pipelines.dex_portrait import DeXPortraitPipeline

from .host import NodeProgress
from .images import BatchClip, batch_of, frame_of
from .session import Subject


@dataclass(frozen=True)
class Sampling:
    """Options of the denoising; None: the model's own."""

    seed: int = 0
    steps: int | None = None
    guidance: float | None = None

    def arguments(self) -> dict[str, Any]:
        """For `stream`; noise is drawn on the CPU, so that a seed means the same on every device."""
        return {
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "generator": torch.Generator("cpu").manual_seed(self.seed),
        }


def animate(
    subject: Subject,
    driver: Tensor,
    sampling: Sampling,
    best_frame: int | str,
    align: bool,
    control: MotionControl | None = None,
) -> Tensor:
    """The portrait's square, moved by every frame of the driver: [frames, s, s, 3]. InputError without a face."""
    control = control or MotionControl()
    if subject.model.dex is not None:
        _only_plain(control)
        return animate_apart(subject, driver, driver, sampling, Gains(relative=True), best_frame)
    pipe, progress = subject.model.pipe, NodeProgress()
    if pipe.reenactor is None:
        _only_plain(control)
    clip = BatchClip(driver, "the driver")
    faces, report = read_faces(clip, subject.model.reader, progress)
    track = place_driver(
        faces,
        report,
        clip,
        subject.portrait,
        best_frame=best_frame,
        align=align,
        scale=pipe.crop_scale,
        reach=pipe.reach,
    )
    progress.stage("Animating", 1.0)
    subject.encode()
    whole, local = control_frames(clip, track, pipe.image_size)
    frames = pipe.stream(
        whole,
        local,
        driven=None
        if pipe.reenactor is None
        else driven_keypoints(subject.portrait, track, pipe.reenactor.basis(), control),
        count=clip.count(),
        progress=progress.reach,
        **sampling.arguments(),
    )
    return batch_of(frames, clip.count())


def animate_apart(
    subject: Subject,
    pose_from: Tensor | None,
    expression_from: Tensor | None,
    sampling: Sampling,
    gains: Gains,
    best_frame: int | str = "auto",
) -> Tensor:
    """The same with head pose and expression from drivers of their own; None keeps the portrait's.

    A driver of one frame is held; of two clips the shorter one ends the result.
    """
    pipe = _dex(subject)
    if pose_from is None and expression_from is None:
        raise InputError("nothing drives the portrait: connect pose_from, expression_from or both")
    subject.encode()
    progress = NodeProgress()
    pose, expression = _read(subject, pose_from, progress), None
    if expression_from is not None:
        expression = pose if expression_from is pose_from else _read(subject, expression_from, progress)
    if pose is not None:
        first = nearest_pose(Pose.from_code(pipe.portrait.pose), Pose.from_code(pose.pose))
        pose = replace(pose, reference=first if best_frame == "auto" else _frame(best_frame, len(pose)))
    moving = [len(motion) for motion in (pose, expression) if motion is not None and len(motion) > 1]
    count = min(moving, default=1)
    progress.stage("Animating", 1.0)
    frames = pipe.stream(pose, expression, frames=count, gains=gains, progress=progress.reach, **sampling.arguments())
    return batch_of(frames, count)


def edit(subject: Subject, change: FaceChange, expression_from: Tensor | None, sampling: Sampling) -> Tensor:
    """The portrait's square with its head moved and another expression: [1, s, s, 3].

    expression_from: a face whose expression is taken over first. sampling: for DeX-Portrait, which denoises.
    """
    progress = NodeProgress(1)
    progress.stage("Editing", 1.0)
    if subject.model.dex is not None:
        return batch_of(_edited_by_codes(subject, change, expression_from, sampling, progress), 1)
    editor = StillEditor(subject.model.pipe, subject.portrait)
    scores = None
    if expression_from is not None:
        scores = read_portrait(subject.model.reader, frame_of(expression_from, 0), "expression_from").expression
    made = batch_of([editor.square(change, scores)], 1)
    progress.reach(1.0)
    return made


def _edited_by_codes(
    subject: Subject,
    change: FaceChange,
    expression_from: Tensor | None,
    sampling: Sampling,
    progress: NodeProgress,
) -> Iterator[NDArray[np.uint8]]:
    pipe = _dex(subject)
    subject.encode()
    expression = None if expression_from is None else _read(subject, expression_from[:1], progress)
    # the command's own options check what this system knows
    options = edit_options(
        portrait=Path("portrait"),
        output=Path("edited.png"),
        expression_from=None if expression is None else Path("expression"),
        change=change,
    )
    pose = turned_pose(pipe.portrait, options) if options.moves else None
    return pipe.stream(pose, expression, frames=1, gains=options.gains, progress=progress.reach, **sampling.arguments())


def _only_plain(control: MotionControl) -> None:
    if control != MotionControl(rate=control.rate):
        raise InputError("control is for models that move by read landmarks, such as nano: disconnect it")


def _dex(subject: Subject) -> DeXPortraitPipeline:
    if subject.model.dex is None:
        raise InputError("this model takes pose and expression together: load a DeX-Portrait model to part them")
    return subject.model.dex


def _read(subject: Subject, driver: Tensor | None, progress: NodeProgress) -> Motion | None:
    if driver is None:
        return None
    motion, _ = read_clip_motion(BatchClip(driver, "the driver"), subject.model.reader, _dex(subject), progress)
    return motion


def _frame(wanted: int | str, count: int) -> int:
    if not isinstance(wanted, int) or not 0 <= wanted < count:
        raise InputError(f"best_frame is {wanted}, but the driver has {count} frames, counted from 0")
    return wanted
