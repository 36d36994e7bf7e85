"""What each stage of X-Portrait trains, on what and for how long, by size. `sd15-paper` is the paper's recipe.

Given by the paper (Section 4.1): R, C and M trained one after the other over a frozen Stable Diffusion 1.5, 30,000
steps each, 16 frames a step, 8 GPUs, 512 px, heterogeneous scaling in [0.9, 1.1]. What it leaves open, and what is
chosen here:

- Frames and GPUs: 16 frames a step are 2 on each of 8 devices for R, C and C_l, which see single frames; M needs 16
  consecutive frames together, so a step of M is one clip on each device: 16 frames a step a device.
- Order of C and C_l: C first and alone, then C_l with C frozen: C_l would otherwise learn what C is for.
- Learning rate 1e-5, AdamW (0.9, 0.999), weight decay 0.01: ControlNet's own (Zhang et al. 2023, for SD 1.5 with the
  backbone locked) and what fits weights that start as copies of SD's. M starts from nothing: 1e-4 (AnimateDiff's).
- Timesteps uniform, loss plain on eps: what SD 1.5 was trained with; the published sampler expects it.
- Warm-up 500 steps, cosine to 5 %, clipping at 1, EMA 0.9999: usual; the paper says nothing.
- R's stage has no control to tell the pose: targets are other frames of the source's clip, as the paper's order says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mien.training.engine.config import StageConfig

_SPATIAL = ("empty_prompt", "appearance_reference", "motion_control", "unet")
_CONTROLS = (*_SPATIAL, "local_control")
_ALL = (*_CONTROLS, "temporal")


@dataclass(frozen=True)
class StageRecipe:
    """What one stage trains and on what.

    Attributes:
        trained, present: parts.
        size: side of the windows cut from the pictures, pixels; None: whole pictures.
        batch_size: sources of a micro-batch on a device.
        frames: targets of each.
        learning_rate, betas: of AdamW.
        steps: in all.
        clip: whether the targets are consecutive.
        noise_power: see `draw_timesteps`.
        motion_supervision_weight: see `motion_supervision`.
        face_weight: whether eyes and mouth count more.
        only_motion_supervision: nothing but it.
        accumulate: micro-batches of a step.
    """

    trained: tuple[str, ...]
    present: tuple[str, ...]
    size: int | None
    batch_size: int
    frames: int
    learning_rate: float
    steps: int
    clip: bool = False
    betas: tuple[float, float] = (0.9, 0.99)
    noise_power: float | None = 4.0
    motion_supervision_weight: float = 0.0
    face_weight: bool = True
    only_motion_supervision: bool = False
    accumulate: int = 1


# At nano size there is no pretrained backbone to freeze: it is trained with R, or with R and C together (--joint).
_NANO = {
    "appearance": StageRecipe(
        ("empty_prompt", "appearance_reference", "unet"), ("empty_prompt", "appearance_reference", "unet"),
        128, 4, 4, 8e-4, 2000,
    ),
    "motion": StageRecipe(("motion_control",), _SPATIAL, 128, 4, 4, 8e-4, 2000, motion_supervision_weight=0.5),
    "local": StageRecipe(
        ("local_control",), _CONTROLS, 256, 3, 4, 3e-4, 1600, noise_power=1.5, motion_supervision_weight=0.3,
    ),
    "temporal": StageRecipe(("temporal",), _ALL, 256, 1, 8, 3e-4, 600, clip=True, noise_power=1.5),
    "few-step": StageRecipe(("unet", "motion_control", "local_control"), _ALL, 256, 2, 4, 1e-4, 1000),
}  # fmt: skip

_SD15_PAPER = {
    "appearance": StageRecipe(
        ("appearance_reference",), ("empty_prompt", "appearance_reference", "unet"), None, 1, 2, 1e-5, 30_000,
    ),
    "motion": StageRecipe(("motion_control",), _SPATIAL, None, 1, 2, 1e-5, 30_000),
    "local": StageRecipe(("local_control",), _CONTROLS, None, 1, 2, 1e-5, 30_000),
    "temporal": StageRecipe(("temporal",), _ALL, None, 1, 16, 1e-4, 30_000, clip=True),
    # the paper uses a ready latent consistency model; distilled here, a tenth of the steps does (Luo et al. 2023)
    "few-step": StageRecipe(("unet", "motion_control", "local_control"), _ALL, None, 1, 2, 1e-6, 3_000),
}  # fmt: skip

PRESETS: dict[str, dict[str, StageRecipe]] = {
    "nano": _NANO,
    "sd15-paper": {
        name: replace(recipe, betas=(0.9, 0.999), noise_power=None, face_weight=False)
        for name, recipe in _SD15_PAPER.items()
    },
}
PAPER_LOOP = (500, 0.9999, True)  # warm-up steps, EMA, gradient checkpointing
PRESET_OF_SIZE = {"nano": "nano", "full": "sd15-paper"}
PAPER_DEVICES = 8


def recipe_for(options: StageConfig) -> StageRecipe:
    """The preset's recipe with what the options change.

    Args:
        options: of one of X-Portrait's stages.

    Raises:
        InputError: they contradict each other.
    """
    kind = options.stage.partition("/")[2]
    recipe = PRESETS[options.get("preset") or PRESET_OF_SIZE[options.get("size")]][kind]
    if options.get("joint"):
        recipe = replace(recipe, trained=tuple(dict.fromkeys((*_SPATIAL, *recipe.trained))))
    if not options.get("local") and kind != "local":
        recipe = replace(
            recipe,
            trained=tuple(part for part in recipe.trained if part != "local_control"),
            present=tuple(part for part in recipe.present if part != "local_control"),
        )
    if options.get("only_motion_supervision"):
        recipe = replace(
            recipe,
            trained=("motion_control",),
            noise_power=4.0,
            motion_supervision_weight=1.0,
            only_motion_supervision=True,
        )
    changes = {
        "motion_supervision_weight": options.get("motion_supervision_weight"),
        "size": options.get("window"),
        "frames": options.get("frames"),
        "batch_size": options.loop.batch_size,
    }
    return replace(recipe, **{name: value for name, value in changes.items() if value is not None})
