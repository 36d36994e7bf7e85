"""Trains X-Portrait's ablations, the landmark baseline, F and F Plus at nano size, each with the same small budget.

    python benchmarks/ablations.py GROUPS START OUT [--steps 600] [--f-steps 600] [--f-more 150]
        [--seeds 1] [--only NAME ...]

GROUPS: a folder of `mien data avatars`; groups kept for validation are not trained on. START: a run of
x-portrait/appearance at nano size, over the autoencoder of a run of the stage vae. Each run leaves
OUT/NAME/SEED/export, for `--seeds` seeds from 0 on, which `mien evaluate ablations` scores. A run that was stopped goes
on; one that is done stays. All of seed 0 come first, so that a table with one seed is there early.

All five of X-Portrait's kind start from the same weights: VAE, U-Net and R of START, which stand in for Stable
Diffusion's, with C and C_l drawn anew. They learn from the same people and motions in the same order, `--steps` steps
of 16 windows of 128 px; only the ablated thing differs. F and F Plus begin from nothing, with whole pictures at 128 px
(nano's 256 px would leave them a quarter of the steps), 8 a step, which takes as long as a step of the others; they
share the first `--f-steps` and have `--f-more` more each.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import cv2

from mien.jobs.train import EXPORT
from mien.models.face_vid2vid import NANO
from mien.training.engine import checkpoints
from mien.training.engine.config import StageConfig
from mien.training.engine.stage import Stage
from mien.training.engine.trainer import train
from mien.training.face_vid2vid.stage import FaceVid2VidStage
from mien.training.registry import configure
from mien.training.x_portrait.recipes import StageRecipe
from mien.training.x_portrait.stage import PortraitStage

X_PORTRAIT: dict[str, dict[str, Any]] = {
    "full": {},
    "self": {"control_source": "self"},  # (a) without cross-identity training
    "no-local": {"local": False},  # (b)
    "no-scaling": {"scaling": False},  # (c)
    "landmarks": {"control": "landmarks"},
}
F: dict[str, str | None] = {
    "f-first": None,
    "face-vid2vid": "f-first",
    "face-vid2vid-plus": "f-first",
}  # and what each starts from
SHARED: dict[str, Any] = {"warmup": 20, "ema": 0.98, "save_every": 50, "show_every": 0, "log_every": 10}


def recipe(steps: int, local: bool) -> StageRecipe:
    """Everything but the VAE learns together; timesteps near the end, where sampling in one step begins."""
    parts = ("empty_prompt", "appearance_reference", "motion_control", "unet")
    learning = (*parts, "local_control") if local else parts
    return StageRecipe(learning, learning, 128, 4, 4, 1e-3, steps, motion_supervision_weight=0.2)


def train_x_portrait(name: str, groups: str, start: str, out: Path, steps: int, seed: int) -> None:
    """One of `X_PORTRAIT`; it has no command of its own, for no preset trains all parts at once."""
    folder = out / name / str(seed)
    options = configure(
        "x-portrait/local",
        data=(groups,),
        out=str(folder),
        start=start,
        steps=steps,
        seed=1 + seed,
        **X_PORTRAIT[name],
        **SHARED,
    )
    train_and_export(PortraitStage(options, recipe=recipe(steps, options.local)), options)


def train_f(name: str, groups: str, out: Path, steps: int, seed: int) -> None:
    """One of `F`; nano's configuration at half the side, its keypoint detector seeing as many pixels as before."""
    before = F[name]
    start = None if before is None else str(out / before / str(seed))
    plus = name == "face-vid2vid-plus"
    kind = "face-vid2vid-plus" if plus else "face-vid2vid"
    options = configure(
        kind,
        data=(groups,),
        out=str(out / name / str(seed)),
        start=start,
        steps=steps,
        seed=1 + seed,
        batch_size=4,
        frames=2,
        learning_rate=1e-3,
        **SHARED,
    )
    config = replace(NANO, image_size=128, detector_scale=2 * NANO.detector_scale)
    train_and_export(FaceVid2VidStage(options, config), options)


def train_and_export(stage: Stage, options: StageConfig) -> None:
    """Until its steps are over; then the averaged weights as inference loads them."""
    if not train(stage, options).finished:
        return
    model, folder = stage.build(), Path(options.out)
    checkpoints.fill(model, checkpoints.find(folder).averaged_weights(), stage.outside())
    stage.export(model.eval().requires_grad_(False), folder / EXPORT)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups")
    parser.add_argument("start")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--f-steps", type=int, default=600)
    parser.add_argument("--f-more", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=[*X_PORTRAIT, *F], default=[*X_PORTRAIT, *F])
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cv2.setNumThreads(0)
    for seed, name in product(range(args.seeds), args.only):
        if (args.out / name / str(seed) / EXPORT / "model_index.json").is_file():
            continue
        if name in X_PORTRAIT:
            train_x_portrait(name, args.groups, args.start, args.out, args.steps, seed)
        else:
            train_f(name, args.groups, args.out, args.f_steps if F[name] is None else args.f_more, seed)


if __name__ == "__main__":
    main()
