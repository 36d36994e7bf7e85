"""A `Checkpoint` without a disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mien.diffusion import SamplerState


class Memory:
    """Keeps the frames, and where the run stood after them."""

    def __init__(self, start: SamplerState | None = None) -> None:
        self.start, self.stopped, self.frames = start, start, []

    def state(self) -> SamplerState | None:
        return self.start

    def save(self, frames: Sequence[Any], state: Callable[[], SamplerState]) -> None:
        self.frames += frames
        self.stopped = state()
