"""What a run leaves to be read and looked at: scalars, a picture grid and a clip every so many steps."""

from __future__ import annotations

import json
import logging
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mien.media import write_image, write_video
from mien.typing import Picture

logger = logging.getLogger(__name__)

_RATE = 12  # frames a second of the clips


class Journal:
    """Writes RUN/log.jsonl, TensorBoard's files in RUN/tensorboard, and RUN/pictures/step_N.jpg and .mp4."""

    def __init__(self, run: Path, step: int) -> None:
        """step: what lies behind; curves beyond it, of a run that was stopped before it saved, are taken back."""
        self._run = run
        self._lines = run / "log.jsonl"
        self._board = _tensorboard(run / "tensorboard", step)
        if self._lines.exists():
            kept = [line for line in self._lines.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
            self._lines.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Curves' values after `step` steps."""
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **{name: float(f"{v:.6g}") for name, v in values.items()}}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def pictures(self, step: int, grid: Picture, clip: list[Picture] | None) -> None:
        """What the model shows after `step` steps: a grid, and the frames of a clip if there is one."""
        folder = self._run / "pictures"
        folder.mkdir(exist_ok=True)
        write_image(folder / f"step_{step:08d}.jpg", grid)
        if self._board is not None:
            self._board.add_image("pictures", grid, step, dataformats="HWC")
        if clip is not None:
            write_video(folder / f"step_{step:08d}.mp4", clip, _RATE)

    def close(self) -> None:
        """Write what is still held back."""
        if self._board is not None:
            self._board.close()


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 1 << 62  # cut off in the middle: dropped


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.warning("tensorboard is not installed: the curves are in log.jsonl only")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


def peak_memory() -> int:
    """Bytes: of the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
