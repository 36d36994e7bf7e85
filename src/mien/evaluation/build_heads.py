"""A benchmark from rendered people (`mien data avatars`): another in the same motion is an exact ground truth."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from mien.avatars.group_files import GroupFolder, RenderedGroup
from mien.errors import InputError
from mien.evaluation.benchmark import Benchmark, Medium, Pair, self_pair
from mien.evaluation.build_options import BuildOptions
from mien.evaluation.build_real import in_order

_RATE = Fraction(25)


def build_heads(folder: Path, options: BuildOptions, every_group: bool = False) -> Benchmark:
    """Pairs of people of the same group: one drives, the ground truth is the other in the same motion.

    The portrait is the ground truth's first frame: then there is one ground truth, whether a system takes the driving
    video's place and pose as they are or counts them from where portrait and driving video are alike. The two clips of
    a group are 16 frames long, so that longer ones are cut to that.

    Args:
        folder: of rendered groups.
        options: what the benchmark is to hold.
        every_group: take also groups that were trained on.

    Raises:
        InputError: if the folder holds no such group.
    """
    groups = _groups(folder, every_group)
    rng = np.random.default_rng(options.seed)
    pairs: list[Pair] = []
    for number in range(options.pairs):
        group = groups[number % len(groups)]
        name, clips = group.name, group["clips"]
        first, last = (int(v) for v in clips[number // len(groups) % len(clips)])
        people = rng.permutation(np.flatnonzero(group["visible"]))
        if len(people) < 2:
            raise InputError(f"{folder}/{name} shows fewer than two people wholly: render more people a group")
        who, driver = (int(p) for p in people[:2])
        frames = folder / f"{name}_frames.npy"
        count = min(options.frames, (last - first - 1) // options.step + 1)

        def stretch(row: int, start: int, path: Path = frames, count: int = count) -> Medium:
            return Medium(path, start, count, options.step, row)

        other = next((int(a) for a, _ in clips if int(a) != first), first)
        tags, end = ("rendered",), f"{name[6:]}-{number}"
        ground_truth, source = stretch(who, first), Medium(frames, first, 1, row=who)
        pairs += [
            self_pair(f"self-{end}", ground_truth, _RATE, tags),
            Pair(
                f"cross-{end}",
                "cross",
                source,
                stretch(driver, first),
                ground_truth=ground_truth,
                rate=_RATE,
                tags=tags,
            ),
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


def _groups(folder: Path, every: bool) -> list[RenderedGroup]:
    found = [group for held_out in (False, True) for group in _complete(folder, held_out) if every or held_out]
    if not found:
        raise InputError(
            f"{folder} holds no group kept out of training: render some with mien data avatars --validation-groups,"
            " or take all with --every-group"
        )
    return sorted(found, key=lambda group: group.name)


def _complete(folder: Path, held_out: bool) -> list[RenderedGroup]:
    return GroupFolder(folder, only_held_out=held_out, complete=True).groups
