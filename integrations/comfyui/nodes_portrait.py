"""Nodes around the animation: loading a model, setting a portrait for it, pasting the result back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io
from torch import Tensor

from mien.faces.backends import READER_NAMES
from mien.jobs.options import OFFLOADS

from . import host
from .inputs import GONE_READER, MODEL, PORTRAIT, declared, face_input, number, watermark_input
from .words import node_messages

if TYPE_CHECKING:
    from .session import Model, Subject


class MienLoadModel(io.ComfyNode):  # type: ignore[misc]
    """A bundled model, or a folder from ComfyUI/models/mien."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="MienLoadModel",
            display_name="Mien: Load Model",
            category="Mien",
            description="Loads a bundled model (nano, dex-nano), or a folder from ComfyUI/models/mien (X-Portrait or"
            " DeX-Portrait).",
            inputs=[
                declared(
                    "model",
                    options=host.model_names(),
                    tooltip="nano moves by read landmarks; dex-nano parts head pose and expression; both are bundled."
                    " Others: folders in ComfyUI/models/mien",
                ),
                declared("dtype", "precision"),
                declared("reader", options=list(READER_NAMES)),
                io.Boolean.Input(
                    "offload", default=False, tooltip="Less GPU memory, slower; for full-size models, needs accelerate"
                ),
                io.Combo.Input(
                    "offload_unit",
                    options=list(OFFLOADS[1:]),
                    default="model",
                    optional=True,
                    tooltip="With offload, what is on the GPU at a time: model, a network; group, a layer",
                ),
                declared("quantize", note="; for full-size models", optional=True),
            ],
            outputs=[MODEL.Output(display_name="model", tooltip="For Set Portrait and Animate a Video")],
        )

    @classmethod
    def fingerprint_inputs(cls, model: str, **_: Any) -> str:
        """Load anew when the model's files have changed, for example because it was trained further."""
        return host.model_state(model)

    @classmethod
    def validate_inputs(cls, reader: str) -> bool | str:
        """Whether there is that reader, in place of ComfyUI's own check: workflows saved earlier may name one more."""
        names = [*READER_NAMES, GONE_READER]
        return True if reader in names else f"reader is {reader!r}, but it must be one of {', '.join(READER_NAMES)}"

    @classmethod
    @node_messages
    def execute(
        cls,
        model: str,
        precision: str,
        reader: str,
        offload: bool,
        offload_unit: str = "model",
        quantize: str = "none",
    ) -> Any:
        from .session import load_model

        return io.NodeOutput(load_model(model, precision, reader, offload_unit if offload else "none", quantize))


class MienSetPortrait(io.ComfyNode):  # type: ignore[misc]
    """Find the face and cut the square around head and shoulders."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="MienSetPortrait",
            display_name="Mien: Set Portrait",
            category="Mien",
            description="Finds the portrait's face. In a batch the first picture moves; the others show the same"
            " person.",
            inputs=[
                MODEL.Input("model", tooltip="From Load Model"),
                io.Image.Input(
                    "image", tooltip="The portrait, or several pictures of one person; transparency is laid over white"
                ),
                face_input(),
            ],
            outputs=[
                PORTRAIT.Output(display_name="portrait", tooltip="For the other nodes"),
                io.Image.Output(display_name="square", tooltip="What the model sees"),
                io.Mask.Output(display_name="mask", tooltip="Where the square lies in the picture"),
            ],
        )

    @classmethod
    @node_messages
    def execute(cls, model: Model, image: Tensor, face: int) -> Any:
        from mien.geometry import paste_back

        from .images import batch_of
        from .session import set_portrait

        subject = set_portrait(model, image, face)
        portrait = subject.portrait
        laid = paste_back(portrait.image, portrait.crop, subject.square, mask_out=True)
        return io.NodeOutput(subject, batch_of([subject.square], 1), batch_of([laid[..., 3]], 1))


class MienPasteBack(io.ComfyNode):  # type: ignore[misc]
    """Put animated squares back into the portrait, at its own resolution."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="MienPasteBack",
            display_name="Mien: Paste Back",
            category="Mien",
            description="Puts squares back into the portrait: soft edge, matched colours, the picture's own"
            " resolution.",
            inputs=[
                PORTRAIT.Input("portrait", tooltip="The one that the squares were made of"),
                io.Image.Input("squares", tooltip="From Animate, Edit and their like; scaled ones fit as well"),
                number("feather", 0.1, 0.0, 0.5, 0.01, "Width of the soft edge, sides of the square"),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the picture may change (white), of the portrait's shape: one, or one a square",
                ),
                watermark_input(),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="Whole pictures, without transparency"),
                io.Mask.Output(display_name="mask", tooltip="How much of each pixel is new, for each picture"),
            ],
        )

    @classmethod
    @node_messages
    def execute(
        cls, portrait: Subject, squares: Tensor, feather: float, mask: Tensor | None = None, watermark: bool = True
    ) -> Any:
        from .pasting import paste

        return io.NodeOutput(*paste(portrait, squares, feather, mask, watermark))
