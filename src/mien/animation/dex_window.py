"""DeX-Portrait made for face windows, as an `Animator`: nano.

The pose P = [sR | t] moves the head layer itself, rigidly and in depth. What the face expresses comes from the code
alone: a linear reading of it moves the portrait's keypoints by what it says beyond the portrait's own code, and the
model reads it by cross-attention while it paints the face window. No landmark of the driving face enters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.animation.carried_pose import carried
from mien.animation.config import AnimationConfig
from mien.animation.dex_portrait import DeXPortraitAnimator
from mien.animation.driven_face import DrivenFace, out_of
from mien.animation.expression_list import ListedMotion, listed_faces
from mien.animation.face_edit import FaceChange
from mien.animation.frame_stepper import FrameStepper
from mien.animation.layered import LayeredAnimator, Part
from mien.animation.layers import HeadLayer
from mien.animation.live_dex import DeXWindowStepper
from mien.animation.motion_transfer import own_face
from mien.animation.person_run import PersonRun
from mien.animation.source import Portrait
from mien.animation.window_engine import Picture, together
from mien.geometry import HeadPose, SquareCrop
from mien.geometry.face_window import RIGID, FaceWindow
from mien.models.dex_portrait import Gains, Motion, Pose
from mien.models.dex_portrait.driving import drive_expression
from mien.models.dex_portrait.face_encoders import FaceExpressionEncoder
from mien.models.dex_portrait.pose import window_code
from mien.motion.rigid_head import RigidHead
from mien.pipelines.dex_portrait_denoiser import Driven

_CODE_SIDE = 256  # pixels of the windows that the expression of a face moved by sliders is read from


@dataclass(frozen=True)
class CodedPart(Part):
    """driven: heads' poses in their windows, and expression codes, of every frame."""

    driven: Driven


class DeXWindowAnimator(LayeredAnimator, DeXPortraitAnimator):
    """See `Animator`."""

    def _set_portrait(self, portraits: Sequence[Portrait]) -> None:
        squares = [portrait.square(self.portrait_side) for portrait in portraits]
        self.pipe.set_portrait(squares, portraits[0].landmarks, windows=self.shown_windows(portraits))

    def _part(self, run: PersonRun) -> CodedPart:
        person, motion, config = run.person, run.motion, run.config
        layer = self.layer(person, run.note)
        if isinstance(motion, ListedMotion):
            return self._listed(person, motion, layer)
        pose = self.placed_pose(person, motion, config)
        return self._driven(person, layer, pose, motion.expression, motion.frames, config)

    def _driven(
        self,
        person: Portrait,
        layer: HeadLayer,
        pose: Motion | None,
        expression: Motion | None,
        frames: int,
        config: AnimationConfig,
    ) -> CodedPart:
        gains = Gains(config.pose_gain, config.expression_gain, config.relative)
        driven = self.pipe.drive(pose, expression, gains, frames, self.limits(person, config))
        head = RigidHead(self.mover(person).shape)
        still = pose is None or gains.pose == 0  # then the pose is the portrait's own to the last digit
        poses = [head.own if still else carried(head.own, driven, index) for index in range(frames)]
        faces = [self._face(person, head, *one) for one in zip(poses, self._moves(driven.expression), strict=True)]
        return self._coded(person, layer, faces, poses, driven.expression)

    def squares_by_codes(
        self, pose: Motion | None, expression: Motion | None, frames: int, config: AnimationConfig, **more: Any
    ) -> Iterator[Picture]:
        """See `DeXPortraitAnimator.squares_by_codes`; squares are as large as in the portrait."""
        person = self.source.portraits[0]
        note, progress = more.pop("note", None), more.pop("progress", lambda _: None)
        if more:
            raise TypeError(f"models of face windows have no {', '.join(more)}")
        part = self._driven(person, self.layer(person, note), pose, expression, frames, config)
        windows = self._windows(part, PersonRun(person, None, config, progress, note=note))
        return self._cut(together([(part.faces, part.layers, windows)]), None)

    def _moves(self, codes: torch.Tensor) -> Sequence[NDArray[np.float32] | None]:
        """How far codes [f, e] move keypoints beyond the portrait's own expression, [70, 3] each, half face heights.

        None with encoders of whose codes that is not read: all of the expression is painted then.
        """
        encoder = self.pipe.expression_encoder
        if not isinstance(encoder, FaceExpressionEncoder):
            return [None] * len(codes)
        device = next(encoder.parameters()).device
        with torch.no_grad():
            moved, own = (encoder.moved(part.to(device)) for part in (codes, self.pipe.portrait.expression))
        away = (moved - own).float().cpu().numpy()
        away[:, list(RIGID)] = 0  # what these seem to do would move the whole head, which is the pose's alone
        return list(away)

    def _face(
        self, person: Portrait, head: RigidHead, pose: HeadPose, moved: NDArray[np.floating] | None = None
    ) -> DrivenFace:
        driven, neutral = (out_of(person.crop, points) for points in (head.keypoints(pose, moved), head.neutral(pose)))
        return DrivenFace(driven, neutral)

    def _coded(
        self,
        person: Portrait,
        layer: HeadLayer,
        faces: list[DrivenFace],
        poses: Sequence[HeadPose],
        expression: torch.Tensor,
    ) -> CodedPart:
        """poses: half sides of the portrait's square."""
        own = self.mover(person).shape.source.pose
        seen = [in_window(face.window, pose, person.crop) for face, pose in zip(faces, poses, strict=True)]
        before = in_window(self.own_window(person), own, person.crop)
        codes = [torch.from_numpy(np.stack([window_code(head) for head in heads])) for heads in (seen, [before])]
        driven = Driven(Pose.from_code(codes[0]), expression, Pose.from_code(codes[1]), self.pipe.portrait.expression)
        return CodedPart(faces, repeat(layer), repeat(layer), driven)

    def _listed(self, person: Portrait, motion: ListedMotion, layer: HeadLayer) -> CodedPart:
        mover = self.mover(person)
        own = own_face(mover.shape)
        faces = listed_faces(mover, motion)
        poses = [motion.at(index, own.blendshapes)[0].moved(own.pose) for index in range(motion.frames)]
        return self._coded(person, layer, faces, poses, self.codes_of(layer, faces))

    def codes_of(self, layer: HeadLayer, faces: Sequence[DrivenFace]) -> torch.Tensor:
        """What the expression encoder sees in a portrait whose keypoints were moved, [f, e]."""

        def shown() -> Iterator[tuple[Picture, np.ndarray]]:
            for face in faces:
                window = face.window
                points = (window.inside(face.keypoints[:68]) + 1) / 2
                yield layer.moved_window(face.keypoints, window, _CODE_SIDE), points

        read: Motion = self.pipe.read_motion(shown())
        return read.expression

    def _windows(self, part: CodedPart, run: PersonRun) -> Iterator[Picture]:
        side = self.pipe.face_window
        starts = (
            layer.moved_window(face.keypoints, face.window, side)
            for layer, face in zip(part.bare, part.faces, strict=False)
        )
        stream: Iterator[Picture] = self.pipe.stream(
            driven=part.driven,
            start_frames=starts,
            guidance="progressive" if run.config.progressive else "plain",
            **run.telling,
            **self.sampling(run.config),
        )
        return stream

    # -- stills ----------------------------------------------------------------------------------------------------

    def edited(
        self,
        change: FaceChange,
        expression: Motion | None,
        config: AnimationConfig,
        note: Callable[[str], None] | None = None,
    ) -> Picture:
        """The portrait with its head moved and another expression, at its own size.

        Sliders move the keypoints first; the encoder then reads off the moved portrait what they mean as a code, and
        the model paints it. With an expression from elsewhere the difference that they make is added to its code.

        Args:
            change: of pose and expression.
            expression: one code, taken over first; None: the portrait's own.
            config: how to sample; its expression gain counts for `expression`.
            note: gets sentences for the user.

        Returns:
            uint8 [h, w, 3].
        """
        person = self.source.portraits[0]
        self._encode(person)
        if expression is None and change.is_nothing:
            return person.image
        layer, own = self.layer(person, note), self.mover(person).shape.source.pose
        code: torch.Tensor = self.pipe.portrait.expression
        if expression is not None:
            code = drive_expression(code, expression.expression[:1], config.expression_gain)
        pose = change.moved(own) if change.moves else own
        return self.painted(person, layer, pose, code, change, config, note=note)

    def painted(
        self,
        person: Portrait,
        layer: HeadLayer,
        pose: HeadPose,
        code: torch.Tensor,
        change: FaceChange,
        config: AnimationConfig,
        note: Callable[[str], None] | None = None,
    ) -> Picture:
        """One picture of a portrait, which the pipeline holds.

        Args:
            person: the portrait.
            layer: the same, cut out.
            pose: of its head, half sides of its square.
            code: of its expression [1, e].
            change: of which the expression's sliders are moved beside.
            config: how to sample.
            note: gets sentences for the user.

        Returns:
            uint8 [h, w, 3].
        """
        shape, as_it_is = self.mover(person).shape, torch.equal(code, self.pipe.portrait.expression)
        own, head = own_face(shape), RigidHead(shape)
        plain = self._face(person, head, pose)
        face = plain if as_it_is else self._face(person, head, pose, self._moves(code)[0])
        if change.expresses:
            before, after = (
                out_of(person.crop, shape.posed(pose, shapes, own.extra))
                for shapes in (own.blendshapes, change.expressed(own.blendshapes))
            )
            changed = replace(plain, keypoints=after)
            with_change, without = self.codes_of(layer, [changed, plain]).split(1)
            code = with_change if as_it_is else code + with_change - without
            face = changed if as_it_is else replace(face, keypoints=face.keypoints + after - before)
        part = self._coded(person, layer, [face], [pose], code)
        windows = self._windows(part, PersonRun(person, None, config, lambda _: None, note=note))
        return next(together([([face], [layer], windows)]))

    # -- a camera ------------------------------------------------------------------------------------------------

    def live(self) -> FrameStepper:
        """See `Animator.live`."""
        return DeXWindowStepper(self)

    def apart(self) -> DeXWindowAnimator:
        """The same networks, with the source that is set now; what is set in either leaves the other as it is."""
        made = copy(self)
        made.pipe = copy(self.pipe)
        made.pipe.scheduler, made.pipe.keeps_reference = copy(self.pipe.scheduler), True
        return made


def in_window(window: FaceWindow, pose: HeadPose, crop: SquareCrop) -> HeadPose:
    """A head, measured in half sides of a square, as its face window shows it."""
    return window.head(HeadPose(pose.rotation, out_of(crop, pose.translation), pose.scale * crop.size / 2))
