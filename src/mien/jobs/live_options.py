"""The options of `mien live`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mien.animation.config import MOTION, RESULT, AnimationConfig
from mien.animation.face_edit import FaceChange
from mien.errors import InputError
from mien.faces.backends import check_reader_name
from mien.jobs.options import AnimateOptions
from mien.options import Checked, again, declared

PAGE = "Page"
RECORDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")


@dataclass(frozen=True, kw_only=True)
class LiveOptions(Checked):
    """How a portrait follows a camera; what each option means says its declaration.

    Attributes:
        portrait: the picture to begin with; None: one that is chosen later.
        config: gains and smoothing to begin with.
        change: the sliders of `mien edit` to begin with.

    Raises:
        InputError: for values that make no sense.
    """

    portrait: Path | None = None
    config: AnimationConfig = field(default_factory=lambda: AnimationConfig(relative=True))
    change: FaceChange = field(default_factory=FaceChange)
    model: str = again(AnimateOptions, "model")
    reader: str = again(AnimateOptions, "reader")
    watermark: bool = again(AnimateOptions, "watermark")
    device: str = again(AnimateOptions, "device")
    dtype: str = again(AnimateOptions, "dtype")
    offload: str = again(AnimateOptions, "offload")
    quantize: str = again(AnimateOptions, "quantize")
    relative: bool = declared(
        True,
        "Add what changes in your face to the portrait's own pose and expression, or take yours over.",
        MOTION,
        flags=("--relative/--absolute",),
    )
    mirror: bool = declared(True, "Mirror the camera, as people know themselves.", MOTION)
    size: int = declared(
        640, "Longest side of the picture, pixels; larger portraits are scaled down.", RESULT, least=64, most=4096
    )
    record: Path | None = declared(None, "A video to record what is shown to (.mp4 .mov .mkv .webm).", RESULT)
    virtual_camera: bool = declared(
        False, "Also show it as a camera for calls; needs mien[camera].", RESULT, flags=("--virtual-camera",)
    )
    host: str = declared("127.0.0.1", "Address to listen on; as it is, this machine alone.", PAGE)
    port: int = declared(7861, "0: any that is free.", PAGE, least=0, most=65535, flags=("-p", "--port"))
    browser: bool = declared(True, "Open the page in the browser.", PAGE)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_reader_name(self.reader)
        if self.record is not None and self.record.suffix.lower() not in RECORDINGS:
            raise InputError(f"--record is {self.record}, but it must end with one of {' '.join(RECORDINGS)}")
