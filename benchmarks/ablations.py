"""Trains X-Portrait's ablations and the landmark baseline on face windows, and F and F Plus, each with the same budget.

    python benchmarks/ablations.py GROUPS START OUT [--clips CLIPS] [--minutes 60] [--f-minutes 60] [--f-more 15]
        [--seeds 1] [--only NAME ...]

GROUPS: a folder of `mien data avatars`; groups kept for validation are not trained on. CLIPS: one of `mien data
prepare`. START: a model folder of X-Portrait on face windows. Each run leaves OUT/NAME/SEED/export, for `--seeds` seeds
from 0 on, which `mien evaluate ablations` scores. Budgets are core-minutes. A run that was stopped goes on; one that is
done stays. All of seed 0 come first, so that a table with one seed is there early.

All five of X-Portrait's kind start from START's U-Net and R, which stand in for Stable Diffusion's, with C and C_l
drawn anew. They learn from the same people and motions in the same order; only the ablated thing differs. F and F Plus
begin from nothing and share `--f-minutes`, the first three eighths of them on pictures of half the side; each has
`--f-more` more, without a discriminator, so that they differ in what F Plus is and in nothing else: its losses
on the patches, its weaker deformation prior, its rate of the keypoints.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import cv2

from mien.jobs.run.progress import Silent
from mien.jobs.train import EXPORT, run_training
from mien.training.engine.config import StageConfig
from mien.training.registry import configure

X_PORTRAIT: dict[str, dict[str, Any]] = {
    "full": {},
    "self": {"self_driven": True},  # (a) without cross-identity training
    "no-local": {"local": False},  # (b)
    "no-scaling": {"scaling": False},  # (c)
    "landmarks": {"control": "landmarks"},
}
F: dict[str, str | None] = {
    "f-small": None,
    "f-first": "f-small",
    "face-vid2vid": "f-first",
    "face-vid2vid-plus": "f-first",
}  # and what each starts from
F_SHARED = {"f-small": 3 / 8, "f-first": 5 / 8}  # of the shared minutes
NEVER = 10**9  # a step that no budget reaches
CONTROLS = ("motion_control", "local_control")
SHARED: dict[str, Any] = {"save_every": 100, "show_every": 0, "log_every": 25}


def without_controls(start: Path, out: Path) -> Path:
    """A copy of a model folder that lacks C and C_l: what starts from it draws them anew."""
    copy = out / "start"
    if not copy.is_dir():
        part = out / ".start"  # whole or not at all: a run that was stopped copies anew
        shutil.copytree(start, part, ignore=shutil.ignore_patterns(*CONTROLS), dirs_exist_ok=True)
        part.rename(copy)
    return copy


def window_run(name: str, data: list[str], start: Path, out: Path, minutes: float, seed: int) -> StageConfig:
    """One of `X_PORTRAIT`."""
    return configure(
        "x-portrait/face-window", data=data, out=str(out / name / str(seed)), start=str(start), seed=1 + seed,
        budget_minutes=minutes, batch_size=8, learning_rate=8e-4, warmup=50, **X_PORTRAIT[name], **SHARED,
    )  # fmt: skip


def f_run(name: str, groups: str, out: Path, minutes: float, seed: int) -> StageConfig:
    """One of `F`."""
    before = F[name]
    start = None if before is None else str(out / before / str(seed))
    kind = "face-vid2vid-plus" if name == "face-vid2vid-plus" else "face-vid2vid"
    return configure(
        kind, data=[groups], out=str(out / name / str(seed)), start=start, seed=1 + seed,
        side=128 if name == "f-small" else None, adversarial_from=NEVER, budget_minutes=minutes,
        batch_size=4, frames=2, learning_rate=1e-3, warmup=20, **SHARED,
    )  # fmt: skip


def train_all(args: argparse.Namespace) -> None:
    """Train what is not done yet."""
    data = [args.groups] if args.clips is None else [f"{args.groups}:0.7", f"{args.clips}:0.3"]
    for seed, name in product(range(args.seeds), args.only):
        if (args.out / name / str(seed) / EXPORT).is_dir():
            continue
        if name in X_PORTRAIT:
            start = without_controls(args.start, args.out)
            run_training(window_run(name, data, start, args.out, args.minutes, seed), Silent())
        else:
            minutes = F_SHARED[name] * args.f_minutes if name in F_SHARED else args.f_more
            run_training(f_run(name, args.groups, args.out, minutes, seed), Silent())


def parsed(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups")
    parser.add_argument("start", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--f-minutes", type=float, default=60.0)
    parser.add_argument("--f-more", type=float, default=15.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=[*X_PORTRAIT, *F], default=[*X_PORTRAIT, *F])
    return parser.parse_args(given)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cv2.setNumThreads(0)
    train_all(parsed())
