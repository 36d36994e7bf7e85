"""A `Keeper` without a disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mien.diffusion import FrontState


class Memory:
    """Keeps the frames, and where the run stood after them."""

    def __init__(self, state: FrontState | None = None) -> None:
        self.state, self.frames = state, []

    def begun(self) -> FrontState | None:
        return self.state

    def keep(self, frames: Sequence[Any], state: Callable[[], FrontState]) -> None:
        self.frames += frames
        self.state = state()
