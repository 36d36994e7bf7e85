"""What an animator hands on to make one person's frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mien.animation.config import AnimationConfig
from mien.animation.source import Portrait
from mien.media import Clip
from mien.pipelines.finishing import Checkpoint


class PersonCheckpoint(Checkpoint, Protocol):
    """A `Checkpoint` that gives back what it keeps."""

    def frames(self) -> Iterator[np.ndarray]:
        """The frames that were finished before."""


@dataclass(frozen=True)
class PersonRun:
    """What one person's frames are made of; see `Animator.frames`.

    Attributes:
        person: who is animated.
        motion: what `read_driving` gave.
        config: how to animate.
        progress: told a fraction from 0 to 1.
        start_from: another reenactment's frames.
        kept: keeps finished squares.
        note: gets sentences for the user.
    """

    person: Portrait
    motion: Any
    config: AnimationConfig
    progress: Callable[[float], None]
    start_from: Clip | None = None
    kept: PersonCheckpoint | None = None
    note: Callable[[str], None] | None = None

    @property
    def telling(self) -> dict[str, Any]:
        """What a pipeline's `stream` is told with."""
        return {"progress": self.progress, "checkpoint": self.kept, "note": self.note}
