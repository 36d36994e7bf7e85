"""Trains DeX-Portrait's ablations (the paper's Table 2) at nano size, each with the same small budget.

    python benchmarks/dex_ablations.py GROUPS PAIRS REENACTOR OUT [--encoder-steps 800] [--steps 60]
        [--seeds 1] [--only NAME ...]

GROUPS, PAIRS: folders of `mien data avatars`, the second made with --paired; REENACTOR: a run of `mien train
reenactor` or the bundled part. Each run leaves OUT/NAME/SEED/export, for `--seeds` seeds from 0 on, which
`mien evaluate ablations` scores.

Encoders are trained twice, with the augmentation and without it, `--encoder-steps` each. The animators go on from the
bundled one, with those encoders in place of its own, for `--steps` steps of four drivers of one source: as it is
("paper"), without the ray maps, without the warped reference, and, on the other encoders, without augmentation. They
start from the reenactor's pictures, as nano does, which show the motion already: what ray maps and warping are worth
where nothing else tells the pose, this cannot say.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from itertools import product
from pathlib import Path

import cv2

from mien.jobs.run.progress import Silent
from mien.jobs.train import EXPORT, run_training
from mien.training.dex_portrait.encoders import ABLATION, PRESET
from mien.training.registry import configure
from mien.weights import bundled

ENCODERS = {"enc": PRESET, "enc_noaug": ABLATION}
ANIMATORS = {"paper": "enc", "no-ray-map": "enc", "no-warping": "enc", "no-augmentation": "enc_noaug"}


def train_encoders(name: str, groups: str, pairs: str, out: Path, steps: int, seed: int) -> None:
    """`enc` or `enc_noaug`."""
    options = configure(
        "dex/motion", data=(f"{groups}:0.95", f"{pairs}:0.05"), out=str(out / name / str(seed)),
        preset=ENCODERS[name], steps=steps, seed=1 + seed, batch_size=16, warmup=30, learning_rate=2.5e-3,
        precision="fp32", save_every=500, show_every=0, log_every=250,
    )  # fmt: skip
    run_training(options, Silent())


def start_folder(out: Path, encoders: str, seed: int) -> Path:
    """The bundled nano with the encoders of a run."""
    folder = out / f"start_{encoders}" / str(seed)
    if not folder.is_dir():
        shutil.copytree(bundled("dex-nano"), folder)
        shutil.copytree(out / encoders / str(seed) / EXPORT, folder, dirs_exist_ok=True)
    return folder


def train_animator(name: str, groups: str, reenactor: str, out: Path, steps: int, seed: int) -> None:
    """One of `ANIMATORS`."""
    options = configure(
        "dex/animator", data=(groups,), out=str(out / name / str(seed)), preset=name,
        start=str(start_folder(out, ANIMATORS[name], seed)), seed=1 + seed, reenactor=reenactor,
        steps=steps, batch_size=1, warmup=5, learning_rate=8e-4, precision="fp32", save_every=100,
        show_every=0, log_every=20,
    )  # fmt: skip
    run_training(options, Silent())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("groups", "pairs", "reenactor"):
        parser.add_argument(name)
    parser.add_argument("out", type=Path)
    parser.add_argument("--encoder-steps", type=int, default=800)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(ANIMATORS), default=list(ANIMATORS))
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cv2.setNumThreads(0)
    for seed, name in product(range(args.seeds), args.only):
        encoders = ANIMATORS[name]
        if not (args.out / encoders / str(seed) / EXPORT).is_dir():
            train_encoders(encoders, args.groups, args.pairs, args.out, args.encoder_steps, seed)
        if not (args.out / name / str(seed) / EXPORT / "model_index.json").is_file():
            train_animator(name, args.groups, args.reenactor, args.out, args.steps, seed)


if __name__ == "__main__":
    main()
