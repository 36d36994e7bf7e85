"""A benchmark from rendered people (`mien data avatars`), where another person in the same motion is exact truth."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.evaluation.benchmark import Benchmark, Medium, Pair, self_pair
from mien.evaluation.build_real import BuildOptions, in_order

_RATE = Fraction(25)


def build_heads(folder: Path, options: BuildOptions, every_group: bool = False) -> Benchmark:
    """Pairs of people of the same group: one drives, the truth is the other in the same motion.

    The portrait is the truth's first frame: then there is one truth, whether a system takes the driver's place and pose
    as they are or counts them from where portrait and driver are alike.

    Only groups kept out of training are taken, unless `every_group`. The two clips of a group are 16 frames long, so
    that longer ones are cut to that. Raises InputError if the folder holds no such group.
    """
    groups = _groups(folder, every_group)
    rng = np.random.default_rng(options.seed)
    pairs: list[Pair] = []
    for number in range(options.pairs):
        name, clips, visible = groups[number % len(groups)]
        first, last = (int(v) for v in clips[number // len(groups) % len(clips)])
        people = rng.permutation(np.flatnonzero(visible))
        if len(people) < 2:
            raise InputError(f"{folder}/{name} shows fewer than two people wholly: render more people a group")
        who, driver = (int(p) for p in people[:2])
        frames = folder / f"{name}_frames.npy"
        count = min(options.frames, (last - first - 1) // options.step + 1)

        def stretch(row: int, start: int, path: Path = frames, count: int = count) -> Medium:
            return Medium(path, start, count, options.step, row)

        other = next((int(a) for a, _ in clips if int(a) != first), first)
        tags, end = ("rendered",), f"{name[6:]}-{number}"
        truth, source = stretch(who, first), Medium(frames, first, 1, row=who)
        pairs += [
            self_pair(f"self-{end}", truth, _RATE, tags),
            Pair(f"cross-{end}", "cross", source, stretch(driver, first), truth=truth, rate=_RATE, tags=tags),
            Pair(
                f"apart-{end}",
                "disentangled",
                source,
                stretch(driver, first),
                stretch(driver, other),
                rate=_RATE,
                tags=tags,
            ),
        ]
    return Benchmark("heads", options.side, in_order(pairs, options.protocols))


def _groups(folder: Path, every: bool) -> list[tuple[str, NDArray[Any], NDArray[Any]]]:
    found = []
    for path in sorted(folder.glob("group_*_people.json")):
        name = path.name.removesuffix("_people.json")
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            with np.load(folder / f"{name}_meta.npz", allow_pickle=False) as meta:
                clips, visible = np.asarray(meta["clips"]), np.asarray(meta["visible"])
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder}/{name} is not whole ({error}): render it again") from error
        if every or summary.get("validation"):
            found.append((name, clips, visible))
    if not found:
        raise InputError(
            f"{folder} holds no group kept out of training: render some with mien data avatars --validation-groups,"
            " or take all with --every-group"
        )
    return found
