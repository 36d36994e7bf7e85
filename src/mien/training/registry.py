"""All stages by name. A new one is a file with its config and its loss, and an entry here; see docs/train.md."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import InputError
from mien.options import typed_name
from mien.training.engine.config import OLD_NAMES, StageConfig, options_of, saved_options

if TYPE_CHECKING:  # the command line's help reads configs only, and does not wait for torch
    from mien.training.engine.stage import Stage

_ROOT = "mien.training"


@dataclass(frozen=True)
class Registered:
    """A stage: what it learns, its module below `mien.training`, and what makes it and its config there."""

    help: str
    module: str
    stage: str
    config: str = "StageConfig"

    def load(self, name: str) -> Any:
        """Something of the module, which is imported when it is asked for.

        Args:
            name: in the module.

        Returns:
            What has that name.
        """
        return getattr(import_module(f"{_ROOT}.{self.module}"), name)


STAGES = {
    "vae": Registered("the nano autoencoder", "vae", "VaeStage", "VaeStageConfig"),
    "face-vid2vid": Registered("F", "face_vid2vid.stage", "FaceVid2VidStage", "FaceVid2VidStageConfig"),
    "face-vid2vid-plus": Registered(
        "F with losses on eyes and mouth", "face_vid2vid.stage", "FaceVid2VidStage", "FaceVid2VidStageConfig"
    ),
    "x-portrait/appearance": Registered("R", "x_portrait.stage", "PortraitStage", "PortraitStageConfig"),
    "x-portrait/motion": Registered("C", "x_portrait.stage", "PortraitStage", "MotionStageConfig"),
    "x-portrait/local": Registered("C_l", "x_portrait.stage", "PortraitStage", "MotionStageConfig"),
    "x-portrait/temporal": Registered("M", "x_portrait.stage", "PortraitStage", "TemporalStageConfig"),
    "x-portrait/few-step": Registered(
        "U-Net and controls for 4 steps or fewer", "x_portrait.few_step", "FewStepStage", "FewStepStageConfig"
    ),
    "x-portrait/face-window": Registered(
        "X-Portrait nano, on face windows", "x_portrait.window_stage", "FaceWindowStage", "FaceWindowConfig"
    ),
    "x-portrait/face-window-temporal": Registered(
        "its temporal modules M", "x_portrait.window_stage", "FaceWindowStage", "FaceWindowConfig"
    ),
    "dex/face-window-encoder": Registered(
        "the encoders of DeX-Portrait nano, on exact ground truth",
        "dex_portrait.encoders",
        "DexEncoders",
        "EncoderConfig",
    ),
    "dex/face-window": Registered(
        "DeX-Portrait nano, on face windows", "dex_portrait.window_stage", "DexWindowStage", "DexWindowConfig"
    ),
    "dex/expression-views": Registered(
        "its expression encoder, on one expression from several sides",
        "dex_portrait.expression_views",
        "ExpressionViews",
        "ExpressionViewsConfig",
    ),
    "dex/face-window-temporal": Registered(
        "its temporal modules", "dex_portrait.window_stage", "DexWindowStage", "DexWindowConfig"
    ),
    "dex/motion": Registered("DeX-Portrait's encoders", "dex_portrait.motion_trainer", "DexMotion", "MotionConfig"),
    "dex/animator": Registered("its denoiser", "dex_portrait.animator", "DexAnimator", "AnimatorConfig"),
    "dex/temporal": Registered("its temporal modules", "dex_portrait.temporal", "DexTemporal", "TemporalConfig"),
}


def registered(name: str) -> Registered:
    """A stage's entry.

    Args:
        name: of the stage.

    Returns:
        The entry.

    Raises:
        InputError: there is none of that name.
    """
    if name not in STAGES:
        raise InputError(f"there is no stage {name}: give one of {', '.join(STAGES)}.")
    return STAGES[name]


def config_class(name: str) -> type[StageConfig]:
    """The class of a stage's config.

    Args:
        name: of the stage.

    Returns:
        Its own, or `StageConfig`.
    """
    entry = registered(name)
    kind: type[StageConfig] = StageConfig if entry.config == "StageConfig" else entry.load(entry.config)
    return kind


def make_stage(config: StageConfig) -> Stage:
    """The stage that a config is of.

    Args:
        config: names it.

    Returns:
        The stage, ready to be trained.

    Raises:
        InputError: there is none of that name, or its options do not do.
    """
    entry = registered(config.stage)
    stage: Stage = entry.load(entry.stage)(config)
    return stage


def stages_with(option: str) -> list[str]:
    """The stages that have an option.

    Args:
        option: its plain name.

    Returns:
        Names of stages.
    """
    return [name for name in STAGES if any(one.name == option for one, _ in options_of(config_class(name)))]


def configure(stage: str, **values: Any) -> Any:
    """The config of a stage, of the stage's own class.

    Args:
        stage: its name.
        values: options by their plain names.

    Returns:
        A config of `config_class(stage)`.

    Raises:
        InputError: there is no such stage, it has no such option, or a value is not allowed.
    """
    config = config_class(stage)(stage)
    if foreign := sorted(set(values) - set(config.flat())):
        raise InputError(foreign_option(stage, foreign[0]))
    return config.changed(**values)


def resumed(stage: str, out: str, **values: Any) -> Any:
    """As `configure`, but what `values` leave open is as in the record of an earlier run, where there is one.

    Args:
        stage: its name.
        out: the run's folder.
        values: options by their plain names.

    Returns:
        A config of `config_class(stage)`.

    Raises:
        InputError: see `configure`.
    """
    fresh = configure(stage, out=out)
    before = saved_options(Path(out)) if out else {}
    kept = {name: before[name] for name in fresh.flat() if name in before and before.get("stage") == stage}
    return configure(stage, **{**kept, "out": out, **values})


def foreign_option(stage: str, name: str) -> str:
    """What is said about an option that a stage does not have.

    Args:
        stage: its name.
        name: of the option.

    Returns:
        One sentence.
    """
    if name in OLD_NAMES:
        return f"{typed_name(name)} is called {typed_name(OLD_NAMES[name])} now."
    if name == "without":
        return "--without is gone: give --no-local or --no-scaling."
    owners = stages_with(name)
    if not owners:
        return f"there is no option {typed_name(name)}: see mien train {stage} --help."
    return f"{typed_name(name)} is an option of {', '.join(owners)}, and not of {stage}: leave it away."
