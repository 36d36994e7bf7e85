"""What ComfyUI lends to its nodes: devices and their memory, a folder of models, a progress bar, the wish to stop.

ComfyUI's modules are imported where they are used, so that importing this one costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

Item = TypeVar("Item")

BUNDLED = ("nano", "dex-nano")
_CLASSES = ("XPortraitPipeline", "DeXPortraitPipeline")  # what a model_index.json must name
_TICKS = 1000  # of the progress bar
_COMPUTED = 0.9  # the part of a stage that its own progress fills; the rest is handing out its frames

log = logging.getLogger("mien.comfyui")


# -- models --------------------------------------------------------------------------------------------------------


def model_names() -> list[str]:
    """The bundled models, and the folders under ComfyUI/models/mien that hold a pipeline of Mien's."""
    found = {folder.name for root in _roots() for folder in _pipelines(root)}
    return [*BUNDLED, *sorted(found - set(BUNDLED))]


def model_folder(name: str) -> str:
    """What `from_pretrained` takes for a name of `model_names` that is not bundled."""
    found = (root / name for root in _roots() if (root / name / "model_index.json").is_file())
    return str(next(found, name))


def model_state(name: str) -> str:
    """Another text whenever a model's files have changed, for example because it was trained further."""
    if name in BUNDLED:
        from mien import __version__

        return f"{name} of mien {__version__}"
    digest = hashlib.sha256()
    folder = Path(model_folder(name))
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            state = path.stat()
            digest.update(f"{path.relative_to(folder)}|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def input_folder() -> Path:
    """Where ComfyUI's users put their files."""
    import folder_paths

    return Path(folder_paths.get_input_directory())


def _roots() -> list[Path]:
    import folder_paths

    folder_paths.add_model_folder_path("mien", str(Path(folder_paths.models_dir) / "mien"))
    return [Path(path) for path in folder_paths.get_folder_paths("mien")]


def _pipelines(root: Path) -> list[Path]:
    return [index.parent for index in root.glob("*/model_index.json") if _is_ours(index)]


def _is_ours(index: Path) -> bool:
    """Whether a pipeline's index names a class of Mien's; other diffusers pipelines have such an index as well."""
    try:
        written = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(written, dict) and written.get("_class_name") in _CLASSES


# -- devices -------------------------------------------------------------------------------------------------------


def device() -> torch.device:
    """Where ComfyUI runs its models."""
    from comfy import model_management

    chosen: torch.device = model_management.get_torch_device()
    return chosen


class ManagedModel:
    """A model's networks in the care of ComfyUI's memory management.

    ComfyUI may move them off the device whenever another model needs the room; `ready` brings them back.
    """

    def __init__(self, parts: Mapping[str, nn.Module], where: torch.device) -> None:
        """parts: what is moved together, from the CPU to `where`, a device other than the CPU."""
        from comfy import model_management
        from comfy.model_patcher import ModelPatcher

        self._parts = nn.ModuleDict(parts)
        self._where = where
        self._patcher: Any = ModelPatcher(self._parts, where, model_management.unet_offload_device())

    def ready(self) -> None:
        """Have all networks on the device; ComfyUI makes room for them, and as much again for what they compute."""
        from comfy import model_management

        size = self._patcher.model_size()
        # whole, for unlike ComfyUI's own networks these cannot run with some of their weights elsewhere
        model_management.load_models_gpu([self._patcher], memory_required=size, force_full_load=True)
        self._parts.to(self._where)  # where ComfyUI was told to keep as little there as it can


def make_room(size: int, where: torch.device) -> None:
    """Ask ComfyUI to move its own models away until `size` bytes are free."""
    from comfy import model_management

    model_management.free_memory(size, where)


# -- the user ------------------------------------------------------------------------------------------------------


def stop_if_cancelled() -> None:
    """Raise ComfyUI's interruption if the user has pressed Cancel."""
    from comfy import model_management

    model_management.throw_exception_if_processing_interrupted()


def tell(text: str) -> None:
    """Show the user one sentence, on the node that is running and in ComfyUI's log; the run goes on."""
    from comfy_execution.utils import get_executing_context
    from server import PromptServer

    log.warning("Mien: %s", text)
    running = get_executing_context()
    if running is not None:
        PromptServer.instance.send_progress_text(text, running.node_id)


class NodeProgress:
    """`mien.jobs.run.progress.Progress` shown in the node's bar, which runs once to its end.

    Every report is also a chance to cancel.
    """

    def __init__(self, *lengths: float) -> None:
        """lengths: how long each stage will take, compared with the others; stages beyond them add nothing."""
        from comfy.utils import ProgressBar

        self._bar: Any = ProgressBar(_TICKS)
        total = sum(lengths)
        self._ends = [0.0, *(sum(lengths[: i + 1]) / total for i in range(len(lengths)))]
        self._stage, self._total, self._shown = 0, 1.0, 0
        self._computed = self._handed_out = 0.0
        self._gives_frames = False

    def stage(self, title: str, total: float | None) -> None:
        """See `Progress.stage`."""
        self._stage, self._total = min(self._stage + 1, len(self._ends) - 1), total or 1.0
        self._computed = self._handed_out = 0.0
        self._gives_frames = False
        self._show()

    def update(self, done: float) -> None:
        """See `Progress.update`. Raises ComfyUI's interruption if the user has pressed Cancel."""
        self._computed = min(done / self._total, 1.0)
        self._show()

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        tell(text)

    def frames(self, items: Iterable[Item], count: int, computed: bool = True) -> Iterator[Item]:
        """The stage's results as they come; its end is reached when the last of `count` was handed out.

        computed: whether `update` tells how far the computation is; else frames are all there is to count.
        """
        self._gives_frames = computed
        for index, item in enumerate(items, 1):
            yield item
            if computed:
                self._handed_out = index / count
                self._show()
            else:
                self.update(self._total * index / count)

    def _show(self) -> None:
        stop_if_cancelled()
        low, high = self._ends[max(self._stage - 1, 0)], self._ends[self._stage]
        done = self._computed
        if self._gives_frames:
            done = _COMPUTED * self._computed + (1 - _COMPUTED) * self._handed_out
        ticks = round(_TICKS * (low + (high - low) * done))
        if ticks > self._shown or self._shown == 0:
            self._shown = ticks
            self._bar.update_absolute(ticks, _TICKS)
