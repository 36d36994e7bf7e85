"""Samples and pictures per second of people rendered while training: `python benchmarks/avatar_stream.py
CAST.safetensors [CORES]`.

First by seconds of CPU on one core, making people included, as in a long run: other work on the machine does not count.
Then by the clock, with a worker on each of CORES (2) cores: on a machine that is idle, about CORES times the first.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Dataset

from mien.avatars.pack import PackedCast, load_pack
from mien.training.data.rendered_people import RenderedPeople
from mien.training.data.samples import SampleSpec, SourceDrivingSample

_PICTURES = 96  # rendered for each figure, about


class Samples(Dataset[SourceDrivingSample]):
    """Sample number n, as at a training's step n."""

    def __init__(self, cast: PackedCast, frames: int) -> None:
        self.people, self.spec = RenderedPeople(cast), SampleSpec(frames, clip=frames > 1, drivers=True)

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int) -> SourceDrivingSample:
        self.people.at_step(index)
        return self.people.sample(np.random.default_rng(index), self.spec)


def of_cpu(cast: PackedCast, frames: int) -> float:
    """Samples per second of CPU time, in this process."""
    samples = iter(Samples(cast, frames)[index] for index in range(1 << 30))
    next(samples)  # compiles, and makes the first people
    count = _PICTURES // (1 + 2 * frames)
    start = time.process_time()
    for _ in range(count):
        next(samples)
    return count / (time.process_time() - start)


def by_the_clock(cast: PackedCast, frames: int, cores: int) -> float:
    """Samples per second of the clock, from `cores` workers."""
    loader = DataLoader(Samples(cast, frames), batch_size=None, num_workers=cores)
    samples = iter(loader)
    for _ in range(4 * cores):  # what the workers have made ahead, and their start
        next(samples)
    count = cores * _PICTURES // (1 + 2 * frames)
    start = time.perf_counter()
    for _ in range(count):
        next(samples)
    return count / (time.perf_counter() - start)


def main() -> None:
    """Print two lines for each kind of sample."""
    cast, cores = load_pack(Path(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else 2
    for frames in (1, 8):
        for speed, what in (
            (of_cpu(cast, frames), "a core, by CPU seconds"),
            (by_the_clock(cast, frames, cores), f"{cores} cores, by the clock, load {os.getloadavg()[0]:.1f}"),
        ):
            pictures = speed * (1 + 2 * frames)
            print(f"{frames} target frames, 256 px: {speed:.1f} samples/s, {pictures:.0f} pictures/s ({what})")


if __name__ == "__main__":
    main()
