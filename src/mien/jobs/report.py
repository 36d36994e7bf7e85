"""What `mien animate` and `mien edit` tell of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.faces import TrackReport
from mien.jobs.options import AnimateOptions


@dataclass(frozen=True)
class AnimateReport:
    """What a run did, or with `dry_run` would do.

    options: with every default resolved. frames: of the driving video and the result. size: width and height of the
        result.
    stage_time_fractions: the part of the time that each stage took, by name, sum 1.
    """

    options: AnimateOptions
    output: Path
    preview: Path | None
    record: Path | None
    frames: int
    size: tuple[int, int]
    faces: TrackReport | None = None
    best_frame: int | None = None
    stage_time_fractions: dict[str, float] | None = None
    cost: Any = None
    warnings: tuple[str, ...] = ()
