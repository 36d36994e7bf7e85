"""Trains DeX-Portrait's ablations (the paper's Table 2) on face windows, each with the same budget.

    python benchmarks/dex_window_ablations.py GROUPS PAIRS X_PORTRAIT OUT [--clips CLIPS] [--encoder-minutes 60]
        [--minutes 60] [--seeds 1] [--only NAME ...]

GROUPS, PAIRS: folders of `mien data avatars`, the second made with --paired; CLIPS: one of `mien data prepare`;
X_PORTRAIT: a run or a model folder of x-portrait/face-window, from which all start. Each run leaves
OUT/NAME/SEED/export, for `--seeds` seeds from 0 on, which `mien evaluate ablations` scores. Budgets are core-minutes. A
run that was stopped goes on; one that is done stays. All of seed 0 come first.

Encoders are trained twice, with the augmentation and without it. The window models go on from there, with the same
people and motions in the same order: as it is ("paper"), without the ray maps, without the warped reference, and, on
the other encoders, without augmentation. The pose moves the head before the networks see it; what ray maps and warping
add to that is what is measured here.
"""

from __future__ import annotations

import argparse
import logging
from itertools import product
from pathlib import Path
from typing import Any

import cv2

from mien.jobs.run.progress import Silent
from mien.jobs.train import EXPORT, run_training
from mien.training.engine.config import StageConfig
from mien.training.registry import configure

ENCODERS = {"encoders": True, "encoders-no-augmentation": False}  # with augmentation or without
WINDOWS = {
    "paper": "encoders",
    "no-ray-map": "encoders",
    "no-warping": "encoders",
    "no-augmentation": "encoders-no-augmentation",
}  # and on which encoders
SHARED: dict[str, Any] = {"save_every": 100, "show_every": 0, "log_every": 25}


def encoder_run(name: str, data: list[str], out: Path, minutes: float, seed: int) -> StageConfig:
    """One of `ENCODERS`."""
    return configure(
        "dex/face-window-encoder", data=data, out=str(out / name / str(seed)), augmentation=ENCODERS[name],
        budget_minutes=minutes, seed=1 + seed, batch_size=16, warmup=30, learning_rate=2.5e-3, precision="fp32",
        **SHARED,
    )  # fmt: skip


def window_run(name: str, data: list[str], start: Path, out: Path, minutes: float, seed: int) -> StageConfig:
    """One of `WINDOWS`."""
    return configure(
        "dex/face-window", data=data, out=str(out / name / str(seed)), start=str(start), preset=name,
        encoders=str(out / WINDOWS[name] / str(seed)), budget_minutes=minutes, seed=1 + seed, **SHARED,
    )  # fmt: skip


def train_all(args: argparse.Namespace) -> None:
    """Train what is not done yet."""
    clips = [] if args.clips is None else [f"{args.clips}:0.2"]
    data = [f"{folder}:0.4" for folder in (args.groups, args.pairs)] + clips
    for seed, name in product(range(args.seeds), args.only):
        encoders = WINDOWS[name]
        if not (args.out / encoders / str(seed) / EXPORT).is_dir():
            run_training(encoder_run(encoders, data, args.out, args.encoder_minutes, seed), Silent())
        if not (args.out / name / str(seed) / EXPORT).is_dir():
            run_training(window_run(name, data, args.start, args.out, args.minutes, seed), Silent())


def parsed(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("groups", "pairs"):
        parser.add_argument(name)
    parser.add_argument("start", type=Path, metavar="x_portrait")
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips")
    parser.add_argument("--encoder-minutes", type=float, default=60.0)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(WINDOWS), default=list(WINDOWS))
    return parser.parse_args(given)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cv2.setNumThreads(0)
    train_all(parsed())
