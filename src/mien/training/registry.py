"""All stages by name; each is imported when it is asked for."""

from __future__ import annotations

from mien.errors import InputError
from mien.training.engine.config import TrainOptions
from mien.training.engine.stage import Stage

NAMES = (
    "face-reader",
    "face-reader/eyes",
    "vae",
    "reenactor",
    "face-vid2vid",
    "face-vid2vid-plus",
    "x-portrait/appearance",
    "x-portrait/motion",
    "x-portrait/local",
    "x-portrait/temporal",
    "x-portrait/few-step",
    "dex/motion",
    "dex/animator",
    "dex/temporal",
)


def make_stage(options: TrainOptions) -> Stage:
    """The stage that the options name. Raises InputError where there is none of that name, or they do not suffice."""
    name = options.stage
    if name not in NAMES:
        raise InputError(f"there is no stage {name}: give one of {', '.join(NAMES)}.")
    if name == "x-portrait/few-step":
        from mien.training.x_portrait.few_step import FewStepStage

        return FewStepStage(options)
    if name.startswith("x-portrait/"):
        from mien.training.x_portrait.stage import PortraitStage

        return PortraitStage(name.partition("/")[2], options)
    if name == "dex/motion":
        from mien.training.dex_portrait.encoders import ABLATION, PRESET, DexEncoders
        from mien.training.dex_portrait.motion_trainer import DexMotion

        return DexEncoders(options) if options.preset in (PRESET, ABLATION) else DexMotion(options)
    if name == "dex/animator":
        from mien.training.dex_portrait.animator import DexAnimator

        return DexAnimator(options)
    if name == "dex/temporal":
        from mien.training.dex_portrait.temporal import DexTemporal

        return DexTemporal(options)
    if name.startswith("face-vid2vid"):
        from mien.training.face_vid2vid.stage import FaceVid2VidStage

        return FaceVid2VidStage(options, plus=name.endswith("-plus"))
    if options.size == "full":
        raise InputError(f"the stage {name} is of nano size only: leave --size away.")
    if name == "face-reader/eyes":
        from mien.training.face_reader.eyes import EyeReaderStage

        return EyeReaderStage(options)
    if name == "reenactor":
        from mien.training.reenactor.stage import ReenactorStage

        return ReenactorStage(options)
    if name == "vae":
        from mien.training.vae import VaeStage

        return VaeStage(options)
    from mien.training.face_reader.stage import FaceReaderStage

    return FaceReaderStage(options)
