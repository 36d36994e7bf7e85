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

from mien.errors import InputError
from mien.training.engine.config import TrainOptions

_SPATIAL = ("empty_prompt", "appearance_reference", "motion_control", "unet")
_CONTROLS = (*_SPATIAL, "local_control")
_ALL = (*_CONTROLS, "temporal")


@dataclass(frozen=True)
class Plan:
    """What one stage trains and on what.

    trained, present: parts. size: side of the windows cut from the pictures, None: whole pictures. rows: sources of a
    micro-batch on a device; frames: targets of each; clip: consecutive ones. noise_power: see `draw_timesteps`. teach:
    weight of the motion supervision. face_weight: whether eyes and mouth count more.
    """

    trained: tuple[str, ...]
    present: tuple[str, ...]
    size: int | None
    rows: int
    frames: int
    learning_rate: float
    steps: int
    clip: bool = False
    betas: tuple[float, float] = (0.9, 0.99)
    noise_power: float | None = 4.0
    teach: float = 0.0
    face_weight: bool = True
    only_teach: bool = False
    accumulate: int = 1


# At nano size there is no pretrained backbone to freeze: it is trained with R, or with R and C together (--joint).
_NANO = {
    "appearance": Plan(
        ("empty_prompt", "appearance_reference", "unet"), ("empty_prompt", "appearance_reference", "unet"),
        128, 4, 4, 8e-4, 2000,
    ),
    "motion": Plan(("motion_control",), _SPATIAL, 128, 4, 4, 8e-4, 2000, teach=0.5),
    "local": Plan(("local_control",), _CONTROLS, 256, 3, 4, 3e-4, 1600, noise_power=1.5, teach=0.3),
    "temporal": Plan(("temporal",), _ALL, 256, 1, 8, 3e-4, 600, clip=True, noise_power=1.5),
    "few-step": Plan(("unet", "motion_control", "local_control"), _ALL, 256, 2, 4, 1e-4, 1000),
}  # fmt: skip

_SD15_PAPER = {
    "appearance": Plan(
        ("appearance_reference",), ("empty_prompt", "appearance_reference", "unet"), None, 1, 2, 1e-5, 30_000,
    ),
    "motion": Plan(("motion_control",), _SPATIAL, None, 1, 2, 1e-5, 30_000),
    "local": Plan(("local_control",), _CONTROLS, None, 1, 2, 1e-5, 30_000),
    "temporal": Plan(("temporal",), _ALL, None, 1, 16, 1e-4, 30_000, clip=True),
    # the paper uses a ready latent consistency model; distilled here, a tenth of the steps does (Luo et al. 2023)
    "few-step": Plan(("unet", "motion_control", "local_control"), _ALL, None, 1, 2, 1e-6, 3_000),
}  # fmt: skip

PRESETS: dict[str, dict[str, Plan]] = {
    "nano": _NANO,
    "sd15-paper": {
        name: replace(plan, betas=(0.9, 0.999), noise_power=None, face_weight=False)
        for name, plan in _SD15_PAPER.items()
    },
}
PAPER_LOOP = (500, 0.9999, True)  # warm-up steps, EMA, gradient checkpointing
PRESET_OF_SIZE = {"nano": "nano", "full": "sd15-paper"}
PAPER_DEVICES = 8


def plan_for(kind: str, options: TrainOptions) -> Plan:
    """The preset's plan with what the options change."""
    plan = PRESETS[options.preset or PRESET_OF_SIZE[options.size]][kind]
    if options.joint:
        if kind == "appearance":
            raise InputError(
                "--joint trains R and C together, and x-portrait/appearance has no C: use x-portrait/motion."
            )
        plan = replace(plan, trained=tuple(dict.fromkeys((*_SPATIAL, *plan.trained))))
    if not options.local and kind != "local":
        plan = replace(
            plan,
            trained=tuple(part for part in plan.trained if part != "local_control"),
            present=tuple(part for part in plan.present if part != "local_control"),
        )
    if options.only_teach:
        plan = replace(plan, trained=("motion_control",), noise_power=4.0, teach=1.0, only_teach=True)
    changes = {
        "teach": options.teach,
        "size": options.window,
        "frames": options.frames,
        "rows": options.rows,
    }
    return replace(plan, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]
