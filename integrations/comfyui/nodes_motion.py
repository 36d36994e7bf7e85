"""Nodes that move a portrait: by a driver, by two, by keyframes, by hand; and one that moves the face of a video."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io
from torch import Tensor

from mien.animation.config import GAINS

from .inputs import (
    CONTROL,
    KEYFRAMES,
    MODEL,
    PORTRAIT,
    best_frame_input,
    declared,
    face_input,
    face_inputs,
    number,
    sampling,
    sampling_inputs,
    squares_output,
    watermark_input,
    whole_number,
)
from .words import node_messages

if TYPE_CHECKING:
    from mien.animation.motion_transfer import TransferSettings

    from .keyframes import Keyframe
    from .session import Model, Subject

_PORTRAIT_TIP = "From Set Portrait"
_CONTROL_TIP = "From Control: how much of the motion is taken over; for nano"
_FOR_DEX = ". For DeX-Portrait models; nano needs none here and gives the same picture for all"
_LIST = """expressions:
  - {at: 0}
  - {at: 0.6, smile: 0.8, yaw: 12}
  - {at: 1.4, scores: {eyeBlinkLeft: 1}}
  - {at: 2.0}
"""


class MienControl(io.ComfyNode):  # type: ignore[misc]
    """How much of the driver's motion is taken over, region by region."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="MienControl",
            display_name="Mien: Control",
            category="Mien",
            description="How much of the driving video's motion is taken over in each region, and how steady; for"
            " nano.",
            inputs=[
                *[declared(gain, gain.removesuffix("_gain")) for gain in GAINS],
                declared("relative"),
                declared("smooth"),
                number("fps", 25.0, 1.0, 1000.0, 0.001, "The driving video's rate, for the filter"),
            ],
            outputs=[CONTROL.Output(display_name="control", tooltip="For Animate and Animate a Video")],
        )

    @classmethod
    @node_messages
    def execute(
        cls, eyes: float, mouth: float, brows: float, head: float, relative: bool, smooth: float, fps: float
    ) -> Any:
        from mien.animation.motion_transfer import TransferSettings
        from mien.motion.gains import MotionGains

        return io.NodeOutput(TransferSettings(MotionGains(eyes, mouth, brows, head, relative), smooth, Fraction(fps)))


class MienAnimate(io.ComfyNode):  # type: ignore[misc]
    """Move the portrait as the face in a driving clip does."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="MienAnimate",
            display_name="Mien: Animate",
            category="Mien",
            description="Moves the portrait by the head and the expression of the driving video. Paste the squares back"
            " afterwards.",
            inputs=[
                PORTRAIT.Input("portrait", tooltip=_PORTRAIT_TIP),
                io.Image.Input("driver", tooltip="Frames of the driving video, which shows one face"),
                *sampling_inputs(),
                best_frame_input(),
                declared("align"),
                CONTROL.Input("control", optional=True, tooltip=_CONTROL_TIP),
            ],
            outputs=[squares_output()],
        )

    @classmethod
    @node_messages
    def execute(
        cls,
        portrait: Subject,
        driver: Tensor,
        seed: int,
        steps: int,
        guidance: float,
        best_frame: int,
        align: bool,
        control: TransferSettings | None = None,
    ) -> Any:
        from .motion import animate

        best = "auto" if best_frame < 0 else best_frame
        return io.NodeOutput(animate(portrait, driver, sampling(seed, steps, guidance), best, align, control))


class MienAnimateApart(io.ComfyNode):  # type: ignore[misc]
    """Head pose from one clip, expression from another (DeX-Portrait)."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="MienAnimateApart",
            display_name="Mien: Animate (pose and expression apart)",
            category="Mien",
            description="Takes the head pose from one clip and the expression from another; needs dex-nano or another"
            " DeX-Portrait model.",
            inputs=[
                PORTRAIT.Input("portrait", tooltip=f"{_PORTRAIT_TIP}, with a DeX-Portrait model"),
                *sampling_inputs(),
                declared("pose_gain"),
                declared("expression_gain"),
                declared("relative", default=True),
                io.Image.Input(
                    "pose_from", optional=True, tooltip="Frames or a picture that give the head pose; none: as it is"
                ),
                io.Image.Input(
                    "expression_from",
                    optional=True,
                    tooltip="Frames or a picture that give the expression; none: as it is",
                ),
            ],
            outputs=[squares_output()],
        )

    @classmethod
    @node_messages
    def execute(
        cls,
        portrait: Subject,
        seed: int,
        steps: int,
        guidance: float,
        pose_gain: float,
        expression_gain: float,
        relative: bool,
        pose_from: Tensor | None = None,
        expression_from: Tensor | None = None,
    ) -> Any:
        from mien.models.dex_portrait import Gains

        from .motion import animate_apart

        gains = Gains(pose_gain, expression_gain, relative)
        made = animate_apart(portrait, pose_from, expression_from, sampling(seed, steps, guidance), gains)
        return io.NodeOutput(made)


class MienEdit(io.ComfyNode):  # type: ignore[misc]
    """Turn and move the head, change the expression: one still, in one pass."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="MienEdit",
            display_name="Mien: Edit",
            category="Mien",
            description="Turns and moves the portrait's head and changes its expression, without a driving video.",
            inputs=[
                PORTRAIT.Input("portrait", tooltip=_PORTRAIT_TIP),
                *face_inputs(),
                *sampling_inputs(_FOR_DEX),
                io.Image.Input(
                    "expression_from", optional=True, tooltip="A face whose expression is taken over before the sliders"
                ),
            ],
            outputs=[squares_output()],
        )

    @classmethod
    @node_messages
    def execute(
        cls,
        portrait: Subject,
        seed: int,
        steps: int,
        guidance: float,
        expression_from: Tensor | None = None,
        **moves: Any,
    ) -> Any:
        from mien.animation.face_edit import FaceChange

        from .motion import edit

        return io.NodeOutput(edit(portrait, FaceChange(**moves), expression_from, sampling(seed, steps, guidance)))


class MienKeyframe(io.ComfyNode):  # type: ignore[misc]
    """How the face looks at one frame; several of them in a chain make a motion without a driver."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="MienKeyframe",
            display_name="Mien: Keyframe",
            category="Mien",
            description="How the face looks at one frame. Chain several, then connect Animate by Keyframes.",
            inputs=[
                whole_number("frame", 24, 0, 99_999, "The frame at which the face looks like this, counted from 0"),
                *face_inputs(),
                KEYFRAMES.Input("keyframes", optional=True, tooltip="The other keyframes, from another Keyframe node"),
            ],
            outputs=[KEYFRAMES.Output(display_name="keyframes", tooltip="All keyframes of the chain")],
        )

    @classmethod
    @node_messages
    def execute(cls, frame: int, keyframes: tuple[Keyframe, ...] = (), **moves: Any) -> Any:
        from mien.animation.face_edit import FaceChange

        from .keyframes import Keyframe, joined

        return io.NodeOutput(joined(keyframes, Keyframe(frame, FaceChange(**moves))))


class MienAnimateKeyframes(io.ComfyNode):  # type: ignore[misc]
    """Move the portrait from keyframe to keyframe, without a driver."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="MienAnimateKeyframes",
            display_name="Mien: Animate by Keyframes",
            category="Mien",
            description="Moves the portrait's head and expression from keyframe to keyframe, without a driving video;"
            " it begins with the portrait as it is, unless a keyframe stands at frame 0.",
            inputs=[
                PORTRAIT.Input("portrait", tooltip=_PORTRAIT_TIP),
                KEYFRAMES.Input("keyframes", tooltip="From Keyframe"),
                whole_number("frames", 0, 0, 100_000, "How many frames; 0: up to the last keyframe"),
                io.Combo.Input(
                    "easing",
                    options=["smooth", "linear"],
                    default="smooth",
                    tooltip="smooth: slow at the keyframes; linear: at an even speed between them",
                ),
                *sampling_inputs(_FOR_DEX),
            ],
            outputs=[squares_output()],
        )

    @classmethod
    @node_messages
    def execute(
        cls,
        portrait: Subject,
        keyframes: tuple[Keyframe, ...],
        frames: int,
        easing: str,
        seed: int,
        steps: int,
        guidance: float,
    ) -> Any:
        from .motion import animate_keyframes

        chosen = sampling(seed, steps, guidance)
        return io.NodeOutput(animate_keyframes(portrait, keyframes, frames, easing == "smooth", chosen))


class MienAnimateList(io.ComfyNode):  # type: ignore[misc]
    """Let the portrait perform a list of expressions, without a driver."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="MienAnimateList",
            display_name="Mien: Animate by a List",
            category="Mien",
            description="Lets the portrait perform a list of expressions over time, the same that"
            " mien animate --expressions takes, without a driving video.",
            inputs=[
                PORTRAIT.Input("portrait", tooltip=_PORTRAIT_TIP),
                io.String.Input("expressions", default=_LIST, multiline=True, tooltip="Moments, as YAML"),
                number("fps", 0.0, 0.0, 1000.0, 0.001, "Frames a second; 0: the list's own, or 25"),
                *sampling_inputs(_FOR_DEX),
            ],
            outputs=[squares_output()],
        )

    @classmethod
    @node_messages
    def execute(cls, portrait: Subject, expressions: str, fps: float, seed: int, steps: int, guidance: float) -> Any:
        from .motion import animate_list

        return io.NodeOutput(animate_list(portrait, expressions, fps, sampling(seed, steps, guidance)))


class MienAnimateVideo(io.ComfyNode):  # type: ignore[misc]
    """Move the face in a video as the face in another one does; background and body stay the video's own."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="MienAnimateVideo",
            display_name="Mien: Animate a Video",
            category="Mien",
            description="Moves the face in a video as the face in a driving video does, frame for frame; everything"
            " else stays the video's own. Needs nano, or another model that moves by read landmarks.",
            inputs=[
                MODEL.Input("model", tooltip="From Load Model"),
                io.Image.Input("source", tooltip="Frames of the video whose face is moved"),
                io.Image.Input("driver", tooltip="Frames of the driving video, at the same rate"),
                *sampling_inputs(),
                best_frame_input(),
                face_input(),
                CONTROL.Input("control", optional=True, tooltip=_CONTROL_TIP),
                watermark_input(),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="Whole frames, as many as the shorter video has")],
        )

    @classmethod
    @node_messages
    def execute(
        cls,
        model: Model,
        source: Tensor,
        driver: Tensor,
        seed: int,
        steps: int,
        guidance: float,
        best_frame: int,
        face: int,
        control: TransferSettings | None = None,
        watermark: bool = True,
    ) -> Any:
        from mien.animation.motion_transfer import TransferSettings

        from .source_video import animate_video

        best = "auto" if best_frame < 0 else best_frame
        chosen = sampling(seed, steps, guidance)
        made = animate_video(model, source, driver, chosen, face, best, control or TransferSettings(), watermark)
        return io.NodeOutput(made)
