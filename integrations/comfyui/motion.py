"""Moving a portrait: by a driver, by two of them, by keyframes, or by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien.animation.config import AnimationConfig
from mien.animation.dex_portrait import DeXPortraitAnimator, read_clip_motion
from mien.animation.dex_window import DeXWindowAnimator
from mien.animation.driving_motion import Drivers, DrivingMotion
from mien.animation.expression_list import ExpressionList, Moment, parse_list
from mien.animation.face_edit import FaceChange
from mien.animation.image_edit import still_editor
from mien.animation.motion_transfer import TransferSettings
from mien.errors import InputError
from mien.faces import TrackReport, read_portrait
from mien.jobs.edit import turned_pose
from mien.models.dex_portrait import Gains, Motion
from mien.pipelines.dex_portrait import DeXPortraitPipeline

from . import host
from .host import NodeProgress
from .images import BatchClip, batch_of, check_image, frame_of
from .keyframes import MOST_FRAMES, Keyframe, changes_over_time
from .session import Subject

# how long the stages take, compared with one another
_READING_FACES, _READING_MOTION, _ANIMATING = 0.15, 0.1, 0.8


@dataclass(frozen=True)
class Sampling:
    """Options of the denoising; None: the model's own."""

    seed: int = 0
    steps: int | None = None
    guidance: float | None = None

    def config(self, control: TransferSettings | None = None, **more: Any) -> AnimationConfig:
        """As animators take it; nodes give squares."""
        if control is not None:
            gains = control.gains
            more |= {f"{region}_gain": getattr(gains, region) for region in ("eyes", "mouth", "brows", "head")}
            more |= {"relative": gains.relative, "smooth": control.smooth}
        return AnimationConfig(
            **{"seed": self.seed, "steps": self.steps, "guidance": self.guidance, "paste_back": False, **more}
        )


def animate(
    subject: Subject,
    driver: Tensor,
    sampling: Sampling,
    best_frame: int | str,
    align: bool,
    control: TransferSettings | None = None,
) -> Tensor:
    """The portrait's square, moved by every frame of the driver: [frames, s, s, 3]. InputError without a face."""
    control = control or TransferSettings()
    clip = BatchClip(driver, "driver", control.rate)
    if subject.model.dex is not None:
        only_plain(control)
        progress = NodeProgress(_READING_FACES, _READING_MOTION, _ANIMATING)
        return _animated(subject, clip, sampling.config(best_frame=best_frame), progress)
    if subject.model.pipe.face_basis is None:
        only_plain(control)
    config = sampling.config(control, best_frame=best_frame, align=align)
    return _animated(subject, clip, config, NodeProgress(_READING_FACES, _ANIMATING))


def animate_apart(
    subject: Subject, pose_from: Tensor | None, expression_from: Tensor | None, sampling: Sampling, gains: Gains
) -> Tensor:
    """The same with head pose and expression from drivers of their own; None keeps the portrait's.

    A driver of one frame is held; of two clips the shorter one ends the result.
    """
    dex_pipeline(subject)
    if pose_from is None and expression_from is None:
        raise InputError("nothing drives the portrait: connect pose_from, expression_from or both")
    pose = None if pose_from is None else BatchClip(pose_from, "pose_from")
    expression = pose
    if expression_from is not pose_from:
        expression = None if expression_from is None else BatchClip(expression_from, "expression_from")
    clips = {id(clip): clip for clip in (pose, expression) if clip is not None}.values()
    moving = [clip.count() for clip in clips if clip.count() > 1]
    if len(set(moving)) > 1:
        host.tell(
            f"pose_from and expression_from differ in length: the result has the shorter one's {min(moving)} frames"
        )
    config = sampling.config(pose_gain=gains.pose, expression_gain=gains.expression, relative=gains.relative)
    progress = NodeProgress(*[_READING_FACES, _READING_MOTION] * len(clips), _ANIMATING)
    return _animated(subject, Drivers(pose, expression), config, progress)


def _animated(subject: Subject, driver: BatchClip | Drivers, config: AnimationConfig, progress: NodeProgress) -> Tensor:
    animator = subject.encode()
    motion: DrivingMotion = animator.read_driving(driver, config, progress)
    for name, report in motion.reports.items():
        tell_faceless(report, name)
    frames = animator.frames(motion, config, progress=progress, note=progress.note)
    return batch_of(progress.frames(frames, motion.frames), motion.frames)


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
    editor = still_editor(subject.model.pipe, subject.portrait)
    blendshapes = None
    if expression_from is not None:
        blendshapes = read_portrait(subject.model.reader, frame_of(expression_from, 0), "expression_from").expression
    return batch_of(progress.frames([editor.square(change, blendshapes)], 1, computed=False), 1)


def _edited_by_codes(
    subject: Subject, change: FaceChange, expression_from: Tensor | None, sampling: Sampling
) -> Tensor:
    pipe = dex_pipeline(subject)
    if pipe.face_window is None:
        _no_sliders(change)
    readings = 0 if expression_from is None else 1
    progress = NodeProgress(*[_READING_FACES, _READING_MOTION] * readings, _ANIMATING)
    subject.encode()
    expression = None
    if expression_from is not None:
        clip = BatchClip(expression_from[:1], "expression_from")
        expression, report = read_clip_motion(clip, subject.model.reader, pipe, progress)
        tell_faceless(report, "expression_from")
    animator = subject.model.animator
    if isinstance(animator, DeXWindowAnimator):
        config = animator.resolved(sampling.config())
        progress.stage("Animating", 1.0)
        square = subject.portrait.crop
        made = square.extract(animator.edited(change, expression, config, note=progress.note), round(square.size))
        return batch_of(progress.frames([made], 1, computed=False), 1)
    return _by_codes(subject, _posed(pipe, [change]), expression, 1, sampling, progress)


def animate_keyframes(
    subject: Subject, keyframes: tuple[Keyframe, ...], frames: int, smooth: bool, sampling: Sampling
) -> Tensor:
    """The portrait's square moved from keyframe to keyframe: [frames, s, s, 3].

    frames: how many; 0: up to the last keyframe. smooth: slow at the keyframes, else at an even speed.
    sampling: for DeX-Portrait, which denoises.
    """
    if isinstance(subject.model.animator, DeXWindowAnimator):
        return _performed(subject, _listed(keyframes, smooth), frames or keyframes[-1].frame + 1, sampling)
    changes = changes_over_time(keyframes, frames, smooth)
    progress = NodeProgress(1)
    if subject.model.dex is not None:
        for change in changes:
            _no_sliders(change)
        subject.encode()
        pipe = dex_pipeline(subject)
        return _by_codes(subject, _posed(pipe, changes), None, len(changes), sampling, progress)
    progress.stage("Animating", len(changes))
    subject.model.ready()
    editor = still_editor(subject.model.pipe, subject.portrait)
    squares = (editor.square(change) for change in changes)
    return batch_of(progress.frames(squares, len(changes), computed=False), len(changes))


def animate_list(subject: Subject, text: str, fps: float, sampling: Sampling) -> Tensor:
    """The portrait's square in every frame of a list of expressions: [frames, s, s, 3].

    text: the list, YAML as of `mien animate --expressions`; pictures are named as seen from ComfyUI's folder of inputs.
    fps: of the frames; 0: the list's own.
    """
    rate = Fraction(fps).limit_denominator(1001) if fps else None
    listed = parse_list(text, host.input_folder() / "expressions", rate)
    return _performed(subject, listed, len(listed), sampling)


def _performed(subject: Subject, listed: ExpressionList, frames: int, sampling: Sampling) -> Tensor:
    """frames: how many; after the last moment the face stays as it is."""
    if frames > MOST_FRAMES:
        raise InputError(f"{frames} frames are too many for one batch: ask for {MOST_FRAMES} at most")
    animator, progress = subject.encode(), NodeProgress(1)
    motion = replace(animator.read_list(listed), frames=frames)
    made = animator.frames(motion, animator.resolved(sampling.config()), progress=progress, note=progress.note)
    return batch_of(progress.frames(made, frames), frames)


def _listed(keyframes: tuple[Keyframe, ...], smooth: bool) -> ExpressionList:
    """Keyframes as a list, a frame a second."""
    keys = keyframes if keyframes[0].frame == 0 else (Keyframe(0, FaceChange()), *keyframes)
    moments = tuple(Moment(float(key.frame), key.change) for key in keys)
    return ExpressionList(Path("keyframes"), moments, Fraction(1), smooth)


def _by_codes(
    subject: Subject,
    pose: Motion,
    expression: Motion | None,
    count: int,
    sampling: Sampling,
    progress: NodeProgress,
) -> Tensor:
    progress.stage("Animating", 1.0)
    animator = subject.encode()
    assert isinstance(animator, DeXPortraitAnimator)  # the callers have asked for its pipeline
    frames = animator.squares_by_codes(
        pose, expression, count, sampling.config(), progress=progress.update, note=progress.note
    )
    return batch_of(progress.frames(frames, count), count)


def _posed(pipe: DeXPortraitPipeline, changes: list[FaceChange]) -> Motion:
    """The portrait's own motion with its pose changed, a frame for every change."""
    own = pipe.portrait
    # without a change of its own the pose stays the very same numbers, so that the warp changes nothing
    codes = [turned_pose(own, change).pose if change.moves else own.pose for change in changes]
    return Motion(torch.cat(codes), own.expression.expand(len(changes), -1))


def only_plain(control: TransferSettings) -> None:
    """Raise InputError for gains that a model without read landmarks does not know."""
    if control != TransferSettings(rate=control.rate):
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
            "this model has no sliders of the expression, from smile to gaze_y: set them to 0, or load nano"
        )


def dex_pipeline(subject: Subject) -> DeXPortraitPipeline:
    """The subject's pipeline; InputError unless it keeps pose and expression apart."""
    if subject.model.dex is None:
        raise InputError("this model takes pose and expression together: load dex-nano, or another DeX-Portrait model")
    return subject.model.dex
