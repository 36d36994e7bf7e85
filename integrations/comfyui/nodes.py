"""The nodes. Their names, inputs and outputs are frozen: graphs that people have saved depend on them.

`tests/integrations/comfyui_signatures.json` holds them all; new inputs are optional ones with a default that changes
nothing. What needs Mien's models is imported when a node runs, so that ComfyUI starts as fast as without them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mien.jobs.options import DTYPES

from . import host

if TYPE_CHECKING:
    from mien.animation.motion_transfer import MotionControl

    from .motion import Sampling
    from .session import Model, Subject

Inputs = dict[str, dict[str, tuple[Any, ...]]]
_CATEGORY = "Mien"
_MOST_SEED = 2**63 - 1
_READERS = ("auto", "nano", "mediapipe")
_SLIDERS = {
    "smile": "Smile, or sulk",
    "jaw": "Mouth open, or shut",
    "pucker": "Lips narrow, or wide",
    "blink": "Eyes closed, or wide",
    "brows": "Brows up, or down",
    "gaze_x": "Look to the picture's right, or left",
    "gaze_y": "Look down, or up",
}


def _number(default: float, least: float, most: float, step: float, tip: str) -> tuple[str, dict[str, Any]]:
    return "FLOAT", {"default": default, "min": least, "max": most, "step": step, "round": 0.001, "tooltip": tip}


def _sampling_inputs() -> dict[str, tuple[Any, ...]]:
    return {
        "seed": ("INT", {"default": 0, "min": 0, "max": _MOST_SEED, "control_after_generate": True}),
        "steps": ("INT", {"default": 0, "min": 0, "max": 1000, "tooltip": "Denoising steps; 0: the model's own"}),
        "guidance": _number(-1.0, -1.0, 100.0, 0.1, "Guidance of the denoising; -1: the model's own"),
    }


def _sampling(seed: int, steps: int, guidance: float) -> Sampling:
    from .motion import Sampling

    return Sampling(seed, steps or None, None if guidance < 0 else guidance)


class MienLoadModel:
    """The bundled model, or a folder from ComfyUI/models/mien."""

    CATEGORY = _CATEGORY
    DESCRIPTION = "Loads nano (bundled), or a model folder from ComfyUI/models/mien (X-Portrait or DeX-Portrait)."
    RETURN_TYPES = ("MIEN_MODEL",)
    RETURN_NAMES = ("model",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        return {
            "required": {
                "model": (host.model_names(), {"default": "nano"}),
                "precision": (list(DTYPES), {"default": "auto"}),
                "reader": (list(_READERS), {"default": "auto", "tooltip": "What reads faces; nano is bundled"}),
                "offload": ("BOOLEAN", {"default": False, "tooltip": "Less GPU memory, slower; for full-size models"}),
            }
        }

    def load(self, model: str, precision: str, reader: str, offload: bool) -> tuple[Model]:
        from .session import load_model

        return (load_model(model, precision, reader, offload),)


class MienSetPortrait:
    """Find the face and cut the square around head and shoulders."""

    CATEGORY = _CATEGORY
    DESCRIPTION = "Finds the portrait's face. In a batch the first picture moves; the others show the same person."
    RETURN_TYPES = ("MIEN_PORTRAIT", "IMAGE", "MASK")
    RETURN_NAMES = ("portrait", "square", "mask")
    OUTPUT_TOOLTIPS = ("For the other nodes", "What the model sees", "Where the square lies in the picture")
    FUNCTION = "find"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        tip = "Which face of the picture; 0 is the largest"
        return {
            "required": {
                "model": ("MIEN_MODEL",),
                "image": ("IMAGE",),
                "face": ("INT", {"default": 0, "min": 0, "max": 1000, "tooltip": tip}),
            }
        }

    def find(self, model: Model, image: Tensor, face: int) -> tuple[Subject, Tensor, Tensor]:
        from mien.geometry import paste_back

        from .images import batch_of
        from .session import set_portrait

        subject = set_portrait(model, image, face)
        portrait = subject.portrait
        laid = paste_back(portrait.image, portrait.crop, subject.square, mask_out=True)
        return subject, batch_of([subject.square], 1), batch_of([laid[..., 3]], 1)


class MienControl:
    """How much of the driver's motion is taken over, region by region."""

    CATEGORY = _CATEGORY
    DESCRIPTION = "How much of the driver's motion is taken over in each region, and how steady; for nano."
    RETURN_TYPES = ("MIEN_CONTROL",)
    RETURN_NAMES = ("control",)
    FUNCTION = "control"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        gain = "1: as driven, 0: as in the portrait"
        relative = "Move from the portrait's own pose and expression on"
        return {
            "required": {
                **{name: _number(1.0, 0.0, 4.0, 0.05, gain) for name in ("eyes", "mouth", "brows", "head")},
                "relative": ("BOOLEAN", {"default": False, "tooltip": relative}),
                "smooth": _number(0.0, 0.0, 1.0, 0.05, "One-euro filter over time; 0: off"),
                "fps": _number(25.0, 1.0, 1000.0, 0.001, "The driver's rate, for the filter"),
            }
        }

    def control(
        self, eyes: float, mouth: float, brows: float, head: float, relative: bool, smooth: float, fps: float
    ) -> tuple[MotionControl]:
        from mien.animation.motion_transfer import MotionControl
        from mien.motion.gains import MotionGains

        return (MotionControl(MotionGains(eyes, mouth, brows, head, relative), smooth, Fraction(fps)),)


class MienAnimate:
    """Move the portrait as the face in a driving clip does."""

    CATEGORY = _CATEGORY
    DESCRIPTION = "Moves the portrait by the head and the expression of the driver. Paste the squares back afterwards."
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("squares",)
    FUNCTION = "animate"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        best = "The driver's frame that is most like the portrait, from 0; -1: found by itself"
        align = "Lay the driver's face over the portrait's"
        return {
            "required": {
                "portrait": ("MIEN_PORTRAIT",),
                "driver": ("IMAGE",),
                **_sampling_inputs(),
                "best_frame": ("INT", {"default": -1, "min": -1, "max": 2**31 - 1, "tooltip": best}),
                "align": ("BOOLEAN", {"default": True, "tooltip": align}),
            },
            "optional": {"control": ("MIEN_CONTROL",)},
        }

    def animate(
        self,
        portrait: Subject,
        driver: Tensor,
        seed: int,
        steps: int,
        guidance: float,
        best_frame: int,
        align: bool,
        control: MotionControl | None = None,
    ) -> tuple[Tensor]:
        from .motion import animate

        best = "auto" if best_frame < 0 else best_frame
        return (animate(portrait, driver, _sampling(seed, steps, guidance), best, align, control),)


class MienAnimateApart:
    """Head pose from one clip, expression from another (DeX-Portrait)."""

    CATEGORY = _CATEGORY
    DESCRIPTION = "Takes the head pose from one clip and the expression from another; needs a DeX-Portrait model."
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("squares",)
    FUNCTION = "animate"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        gain = "1: as driven, 0: not at all"
        return {
            "required": {
                "portrait": ("MIEN_PORTRAIT",),
                **_sampling_inputs(),
                "pose_gain": _number(1.0, 0.0, 4.0, 0.05, gain),
                "expression_gain": _number(1.0, 0.0, 4.0, 0.05, gain),
                "relative": ("BOOLEAN", {"default": True, "tooltip": "Move from the portrait's own pose on"}),
            },
            "optional": {"pose_from": ("IMAGE",), "expression_from": ("IMAGE",)},
        }

    def animate(
        self,
        portrait: Subject,
        seed: int,
        steps: int,
        guidance: float,
        pose_gain: float,
        expression_gain: float,
        relative: bool,
        pose_from: Tensor | None = None,
        expression_from: Tensor | None = None,
    ) -> tuple[Tensor]:
        from mien.models.dex_portrait import Gains

        from .motion import animate_apart

        gains, sampling = Gains(pose_gain, expression_gain, relative), _sampling(seed, steps, guidance)
        return (animate_apart(portrait, pose_from, expression_from, sampling, gains),)


class MienEdit:
    """Turn and move the head, change the expression: one still, in one pass."""

    CATEGORY = _CATEGORY
    DESCRIPTION = "Turns and moves the portrait's head and changes its expression, without a driver."
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("squares",)
    FUNCTION = "edit"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        return {
            "required": {
                "portrait": ("MIEN_PORTRAIT",),
                "yaw": _number(0.0, -90.0, 90.0, 1.0, "Degrees; above 0 the nose goes to the picture's right"),
                "pitch": _number(0.0, -90.0, 90.0, 1.0, "Degrees; above 0 the nose goes down"),
                "roll": _number(0.0, -90.0, 90.0, 1.0, "Degrees; above 0 counter-clockwise"),
                "x": _number(0.0, -1.0, 1.0, 0.01, "Sides of the square, to the right"),
                "y": _number(0.0, -1.0, 1.0, 0.01, "Sides of the square, down"),
                "zoom": _number(1.0, 0.25, 4.0, 0.01, "How much larger the head gets"),
                **{name: _number(0.0, -1.0, 1.0, 0.05, tip) for name, tip in _SLIDERS.items()},
                **_sampling_inputs(),
            },
            "optional": {"expression_from": ("IMAGE",)},
        }

    def edit(
        self,
        portrait: Subject,
        seed: int,
        steps: int,
        guidance: float,
        expression_from: Tensor | None = None,
        **moves: float,
    ) -> tuple[Tensor]:
        from mien.animation.face_edit import FaceChange

        from .motion import edit

        return (edit(portrait, FaceChange(**moves), expression_from, _sampling(seed, steps, guidance)),)


class MienPasteBack:
    """Put animated squares back into the portrait, at its own resolution."""

    CATEGORY = _CATEGORY
    DESCRIPTION = "Puts squares back into the portrait: soft edge, matched colours, the picture's own resolution."
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("images", "mask")
    OUTPUT_TOOLTIPS = ("Whole pictures", "How much of each pixel is new")
    FUNCTION = "paste"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        return {
            "required": {
                "portrait": ("MIEN_PORTRAIT",),
                "squares": ("IMAGE",),
                "feather": _number(0.1, 0.0, 0.5, 0.01, "Width of the soft edge, sides of the square"),
            },
            "optional": {
                "mask": ("MASK", {"tooltip": "Where the picture may change, in the portrait's own size"}),
                "watermark": ("BOOLEAN", {"default": True, "tooltip": "Mark every frame invisibly as synthetic"}),
            },
        }

    def paste(
        self, portrait: Subject, squares: Tensor, feather: float, mask: Tensor | None = None, watermark: bool = True
    ) -> tuple[Tensor, Tensor]:
        from mien.geometry import paste_back
        from mien.media.watermark import marked

        from .images import batch_of, frame_of

        picture, crop = portrait.portrait.image, portrait.portrait.crop
        allowed = None if mask is None else _fitted(mask, *picture.shape[:2])
        laid = paste_back(picture, crop, frame_of(squares, 0), feather=feather, mask_out=True)
        new = torch.from_numpy(laid[..., 3].astype(np.float32) / 255)
        new = new if allowed is None else new * allowed

        def pasted() -> Any:
            for index in range(len(squares)):
                host.stop_if_cancelled()
                whole = paste_back(picture, crop, frame_of(squares, index), feather=feather)
                whole = whole if allowed is None else _blended(whole, picture, allowed)
                yield marked(whole) if watermark else whole

        # the mask is the same for all frames: one copy, seen as many
        return batch_of(pasted(), len(squares)), new.expand(len(squares), -1, -1)


def _fitted(mask: Tensor, height: int, width: int) -> Tensor:
    """The first mask of a batch [b, h, w] (or one [h, w]) at the picture's size."""
    first = mask.reshape(-1, *mask.shape[-2:])[:1, None].float().cpu()
    resized: Tensor = torch.nn.functional.interpolate(first, (height, width), mode="bilinear")[0, 0].clamp(0, 1)
    return resized


def _blended(whole: np.ndarray, picture: np.ndarray, allowed: Tensor) -> np.ndarray:
    weight = allowed.numpy()[..., None]
    return np.round(whole * weight + picture * (1 - weight)).astype(np.uint8)


NODE_CLASS_MAPPINGS = {
    node.__name__: node
    for node in (MienLoadModel, MienSetPortrait, MienControl, MienAnimate, MienAnimateApart, MienEdit, MienPasteBack)
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "MienLoadModel": "Mien: Load Model",
    "MienSetPortrait": "Mien: Set Portrait",
    "MienControl": "Mien: Control",
    "MienAnimate": "Mien: Animate",
    "MienAnimateApart": "Mien: Animate (pose and expression apart)",
    "MienEdit": "Mien: Edit",
    "MienPasteBack": "Mien: Paste Back",
}
