"""What a run leaves to be read and looked at: scalars, a picture grid and a clip every so many steps."""

from __future__ import annotations

import json
import logging
import resource
import sys
import uuid
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch

from mien.errors import InputError
from mien.media import write_image, write_video
from mien.typing import Picture

logger = logging.getLogger(__name__)

_RATE = 12  # frames a second of the clips


class Board(Protocol):
    """Where curves and pictures are shown."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show values of curves.

        Args:
            step: steps that are done.
            values: by name.
        """

    def picture(self, step: int, grid: Picture) -> None:
        """Show a grid of pictures.

        Args:
            step: steps that are done.
            grid: uint8 [h, w, 3].
        """

    def close(self) -> None:
        """Write what is still held back."""


class Journal:
    """Writes RUN/log.jsonl, RUN/pictures/step_N.jpg and .mp4, and to the boards.

    Boards are TensorBoard's files in RUN/tensorboard, and Weights & Biases where a project of it is named.
    """

    def __init__(self, run: Path, step: int, project: str | None = None, config: Mapping[str, Any] | None = None):
        """Open the files of a run.

        Args:
            run: its folder.
            step: what lies behind; curves beyond it, of a run that was stopped before it saved, are taken back.
            project: of Weights & Biases; None: none.
            config: the run's options, shown there.
        """
        self._run = run
        self._lines = run / "log.jsonl"
        boards = [_tensorboard(run / "tensorboard", step)]
        if project is not None:
            boards.append(_WeightsAndBiases(run, project, config or {}))
        self._boards = [board for board in boards if board is not None]
        if self._lines.exists():
            kept = [line for line in self._lines.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
            self._lines.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write values of curves, to log.jsonl and to the boards.

        Args:
            step: steps that are done.
            values: by name.
        """
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **{name: float(f"{v:.6g}") for name, v in values.items()}}) + "\n")
        for board in self._boards:
            board.scalars(step, values)

    def pictures(self, step: int, grid: Picture, clip: list[Picture] | None) -> None:
        """Write what the model shows.

        Args:
            step: steps that are done.
            grid: uint8 [h, w, 3].
            clip: frames of a video; None: there is none.
        """
        folder = self._run / "pictures"
        folder.mkdir(exist_ok=True)
        write_image(folder / f"step_{step:08d}.jpg", grid)
        for board in self._boards:
            board.picture(step, grid)
        if clip is not None:
            write_video(folder / f"step_{step:08d}.mp4", clip, _RATE)

    def close(self) -> None:
        """Write what is still held back."""
        for board in self._boards:
            board.close()


def check_boards(project: str | None) -> None:
    """Whether what is logged to is installed.

    Args:
        project: of Weights & Biases; None: not asked for.

    Raises:
        InputError: it is not installed.
    """
    if project is not None and find_spec("wandb") is None:
        raise InputError("--wandb needs wandb: pip install 'mien[wandb]'.")


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 1 << 62  # cut off in the middle: dropped


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, grid: Picture) -> None:
        self._writer.add_image("pictures", grid, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    """A run there that goes on where this one does; WANDB_MODE=offline keeps it on this machine."""

    def __init__(self, run: Path, project: str, config: Mapping[str, Any]) -> None:
        import wandb

        mark = run / "wandb_run.txt"
        if not mark.is_file():
            mark.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
        self._wandb: Any = wandb
        self._run = wandb.init(
            project=project,
            name=run.resolve().name,
            id=mark.read_text(encoding="utf-8").strip(),
            dir=str(run),
            resume="allow",
            config=dict(config),
        )
        self._run.define_metric("*", step_metric="steps")  # its own counter cannot go back as a resumed run may

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"steps": step, **values})

    def picture(self, step: int, grid: Picture) -> None:
        self._run.log({"steps": step, "pictures": self._wandb.Image(grid)})

    def close(self) -> None:
        self._run.finish()


def _tensorboard(folder: Path, step: int) -> Board | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.warning("tensorboard is not installed: the curves are in log.jsonl only")
        return None
    return _TensorBoard(SummaryWriter(str(folder), purge_step=step + 1))


def peak_memory() -> int:
    """Bytes: of the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
