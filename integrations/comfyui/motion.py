"""Moving a portrait: by a driver, by two of them, by keyframes, or by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
from mien.faces import TrackReport, read_portrait
from mien.jobs.motion import read_clip_motion
from mien.models.dex_portrait import Gains, Motion, Pose
from mien.models.dex_portrait.driving import nearest_pose
from mien.models.dex_portrait.pose import code_of_head_pose
from mien.pipelines.dex_portrait import DeXPortraitPipeline

from . import host
from .host import NodeProgress
from .images import BatchClip, batch_of, check_image, frame_of
from .keyframes import Keyframe, changes_over_time
from .session import Subject

# how long the stages take, compared with one another
_READING_FACES, _READING_MOTION, _ANIMATING = 0.15, 0.1, 0.8


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
        only_plain(control)
        return animate_apart(subject, driver, driver, sampling, Gains(relative=True), best_frame, "driver")
    pipe: Any = subject.model.pipe
    progress = NodeProgress(_READING_FACES, _ANIMATING)
    if pipe.reenactor is None:
        only_plain(control)
    clip = BatchClip(driver, "driver")
    faces, report = read_faces(clip, subject.model.reader, progress)
    tell_faceless(report, "driver")
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
        note=progress.note,
        **sampling.arguments(),
    )
    return batch_of(progress.frames(frames, clip.count()), clip.count())


def animate_apart(
    subject: Subject,
    pose_from: Tensor | None,
    expression_from: Tensor | None,
    sampling: Sampling,
    gains: Gains,
    best_frame: int | str = "auto",
    name: str | None = None,
) -> Tensor:
    """The same with head pose and expression from drivers of their own; None keeps the portrait's.

    A driver of one frame is held; of two clips the shorter one ends the result. name: of the input, if both are one.
    """
    pipe = dex_pipeline(subject)
    if pose_from is None and expression_from is None:
        raise InputError("nothing drives the portrait: connect pose_from, expression_from or both")
    inputs = [(pose_from, name or "pose_from")]
    if expression_from is not pose_from:
        inputs.append((expression_from, name or "expression_from"))
    clips = [None if driver is None else BatchClip(driver, called) for driver, called in inputs]
    readings = sum(clip is not None for clip in clips)
    progress = NodeProgress(*[_READING_FACES, _READING_MOTION] * readings, _ANIMATING)
    subject.encode()
    motions = [None if clip is None else _read(subject, clip, progress) for clip in clips]
    pose, expression = motions[0], motions[-1]
    if pose is not None:
        first = nearest_pose(Pose.from_code(pipe.portrait.pose), Pose.from_code(pose.pose))
        pose = replace(pose, reference=first if best_frame == "auto" else _frame(best_frame, len(pose)))
    moving = [len(motion) for motion in (pose, expression) if motion is not None and len(motion) > 1]
    if len(set(moving)) > 1:
        host.tell(
            f"pose_from and expression_from differ in length: the result has {min(moving)} frames, as the shorter"
        )
    return _streamed(pipe, pose, expression, min(moving, default=1), gains, sampling, progress)


def edit(subject: Subject, change: FaceChange, expression_from: Tensor | None, sampling: Sampling) -> Tensor:
    """The portrait's square with its head moved and another expression: [1, s, s, 3].

    expression_from: a face whose expression is taken over first. sampling: for DeX-Portrait, which denoises.
    """
    if expression_from is not None:
        check_image(expression_from, "expression_from")
    if subject.model.dex is not None:
        return _edited_by_codes(subject, change, expression_from, sampling)
    progress = NodeProgress(1)
    progress.stage("Editing", 1.0)
    subject.model.ready()
    editor = StillEditor(subject.model.pipe, subject.portrait)
    scores = None
    if expression_from is not None:
        scores = read_portrait(subject.model.reader, frame_of(expression_from, 0), "expression_from").expression
    return batch_of(progress.frames([editor.square(change, scores)], 1, computed=False), 1)


def _edited_by_codes(
    subject: Subject, change: FaceChange, expression_from: Tensor | None, sampling: Sampling
) -> Tensor:
    pipe = dex_pipeline(subject)
    _no_sliders(change)
    readings = 0 if expression_from is None else 1
    progress = NodeProgress(*[_READING_FACES, _READING_MOTION] * readings, _ANIMATING)
    subject.encode()
    expression = None
    if expression_from is not None:
        expression = _read(subject, BatchClip(expression_from[:1], "expression_from"), progress)
    return _streamed(pipe, _posed(pipe, [change]), expression, 1, Gains(), sampling, progress)


def animate_keyframes(
    subject: Subject, keyframes: tuple[Keyframe, ...], frames: int, smooth: bool, sampling: Sampling
) -> Tensor:
    """The portrait's square moved from keyframe to keyframe: [frames, s, s, 3].

    frames: how many; 0: up to the last keyframe. smooth: slow at the keyframes, else at an even speed.
    sampling: for DeX-Portrait, which denoises.
    """
    changes = changes_over_time(keyframes, frames, smooth)
    progress = NodeProgress(1)
    if subject.model.dex is not None:
        for change in changes:
            _no_sliders(change)
        subject.encode()
        pipe = dex_pipeline(subject)
        return _streamed(pipe, _posed(pipe, changes), None, len(changes), Gains(), sampling, progress)
    progress.stage("Animating", len(changes))
    subject.model.ready()
    editor = StillEditor(subject.model.pipe, subject.portrait)
    squares = (editor.square(change) for change in changes)
    return batch_of(progress.frames(squares, len(changes), computed=False), len(changes))


def _streamed(
    pipe: DeXPortraitPipeline,
    pose: Motion | None,
    expression: Motion | None,
    count: int,
    gains: Gains,
    sampling: Sampling,
    progress: NodeProgress,
) -> Tensor:
    progress.stage("Animating", 1.0)
    frames: Iterator[NDArray[np.uint8]] = pipe.stream(
        pose,
        expression,
        frames=count,
        gains=gains,
        progress=progress.reach,
        note=progress.note,
        **sampling.arguments(),
    )
    return batch_of(progress.frames(frames, count), count)


def _posed(pipe: DeXPortraitPipeline, changes: list[FaceChange]) -> Motion:
    """The portrait's own motion with its pose changed, a frame for every change."""
    own = pipe.portrait
    head = Pose.from_code(own.pose).head_pose()
    # without a change of its own the pose stays the very same numbers, so that the warp changes nothing
    codes = [torch.from_numpy(code_of_head_pose(c.moved(head)))[None] if c.moves else own.pose for c in changes]
    return Motion(torch.cat(codes), own.expression.expand(len(changes), -1))


def only_plain(control: MotionControl) -> None:
    """Raise InputError for gains that a model without read landmarks does not know."""
    if control != MotionControl(rate=control.rate):
        raise InputError("control is for models that move by read landmarks, such as nano: disconnect it")


def tell_faceless(report: TrackReport, name: str) -> None:
    """Say how many frames of an input showed no face, if any."""
    without = report.frames - report.found
    if without:
        host.tell(
            f"no face was found in {without} of {report.frames} frames of {name}: there the portrait keeps or"
            " interpolates the motion of the frames around"
        )


def _no_sliders(change: FaceChange) -> None:
    if change.expresses:
        raise InputError(
            "the sliders of the expression, from smile to gaze_y, are for nano: set them to 0, or load nano"
        )


def dex_pipeline(subject: Subject) -> DeXPortraitPipeline:
    """The subject's pipeline; InputError unless it keeps pose and expression apart."""
    if subject.model.dex is None:
        raise InputError("this model takes pose and expression together: load dex-nano, or another DeX-Portrait model")
    return subject.model.dex


def _read(subject: Subject, clip: BatchClip, progress: NodeProgress) -> Motion:
    motion, report = read_clip_motion(clip, subject.model.reader, dex_pipeline(subject), progress)
    tell_faceless(report, clip.info.path.name)
    return motion


def _frame(wanted: int | str, count: int) -> int:
    if not isinstance(wanted, int) or not 0 <= wanted < count:
        raise InputError(f"best_frame is {wanted}, but the driver has {count} frames, counted from 0")
    return wanted
