"""What ComfyUI lends to its nodes: a device, a folder of models, a progress bar, and the user's wish to stop.

ComfyUI's modules are imported where they are used, so that the nodes can be imported, and tested, without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

_TICKS = 1000  # of the progress bar
_READING = 0.2  # the part of the bar that reading faces takes; the rest is animating


def model_names() -> list[str]:
    """ "nano", which is bundled, and the folders under ComfyUI/models/mien that hold a pipeline."""
    return ["nano", *sorted({folder.name for root in _roots() for folder in _pipelines(root)} - {"nano"})]


def model_folder(name: str) -> str:
    """What `from_pretrained` takes for a name of `model_names`."""
    found = (root / name for root in _roots() if (root / name / "model_index.json").is_file())
    return name if name == "nano" else str(next(found, name))


def _roots() -> list[Path]:
    import folder_paths

    folder_paths.add_model_folder_path("mien", str(Path(folder_paths.models_dir) / "mien"))
    return [Path(path) for path in folder_paths.get_folder_paths("mien")]


def _pipelines(root: Path) -> list[Path]:
    return [index.parent for index in root.glob("*/model_index.json")]


def device() -> torch.device:
    """Where ComfyUI runs its models."""
    from comfy import model_management

    chosen: torch.device = model_management.get_torch_device()
    return chosen


def make_room(size: int, where: torch.device) -> None:
    """Ask ComfyUI to move its own models away until `size` bytes are free."""
    from comfy import model_management

    model_management.free_memory(size, where)


def stop_if_cancelled() -> None:
    """Raise ComfyUI's interruption if the user has pressed Cancel."""
    from comfy import model_management

    model_management.throw_exception_if_processing_interrupted()


class NodeProgress:
    """`mien.jobs.run.progress.Progress` shown in the node's bar; every report is also a chance to cancel."""

    def __init__(self, stages: int = 2) -> None:
        """stages: 2 if a driver is read before the portrait is animated, 1 if there is none."""
        from comfy.utils import ProgressBar

        self._bar: Any = ProgressBar(_TICKS)
        shares = [_READING, 1 - _READING] if stages == 2 else [1.0]
        self._ends = [0.0, *(sum(shares[: i + 1]) for i in range(len(shares)))]
        self._stage, self._total = 0, 1.0

    def stage(self, title: str, total: float | None) -> None:
        """See `Progress.stage`; stages beyond those announced share the last one's part of the bar."""
        self._stage, self._total = min(self._stage + 1, len(self._ends) - 1), total or 1.0
        self.reach(0)

    def reach(self, done: float) -> None:
        """See `Progress.reach`. Raises ComfyUI's interruption if the user has pressed Cancel."""
        stop_if_cancelled()
        low, high = self._ends[max(self._stage - 1, 0)], self._ends[self._stage]
        self._bar.update_absolute(round(_TICKS * (low + (high - low) * min(done / self._total, 1.0))), _TICKS)

    def note(self, text: str) -> None:
        """See `Progress.note`."""
