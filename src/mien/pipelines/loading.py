"""Strict loading of a pipeline folder: every part there, every key used, or an error that names it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin, SchedulerMixin
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from mien.errors import WeightsError
from mien.media.files import utf8_path
from mien.pipelines.int8_storage import SCALE, restored, with_scales

WEIGHTS = "diffusion_pytorch_model.safetensors"
_OLD_KEYS = {"reach": "motion_limits"}  # what the first release wrote
_OLD_PARTS = ("reenactor", "expression_shape")  # of its nano models, which were of another kind


def find_folder(name: str | Path, revision: str | None = None) -> Path:
    """A local folder as it is; anything else is taken as a hub id and fetched once into the hub's cache.

    Args:
        name: a folder or a hub id.
        revision: of a hub id.

    Returns:
        The folder.

    Raises:
        WeightsError: there is no such folder, and the hub has none or cannot be reached.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise WeightsError(f"{folder} is not a model folder; give the folder that holds model_index.json.")
    try:
        return Path(snapshot_download(str(name), revision=revision, allow_patterns=["*.json", "*.safetensors", "*.md"]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise WeightsError(
            f"there is no model folder {name}, and it cannot be fetched from the hub ({type(error).__name__}); "
            "give an existing folder, a hub id that is reachable, or nano."
        ) from error


def read_index(folder: Path) -> dict[str, Any]:
    """The model_index.json of a pipeline's folder, under the keys of today.

    Args:
        folder: of the model.

    Returns:
        Its entries.

    Raises:
        WeightsError: it is missing or damaged, or of a nano model of release 0.1.
    """
    index = {_OLD_KEYS.get(key, key): value for key, value in read_json(folder / "model_index.json").items()}
    if any(index.pop(part, None) not in (None, [None, None]) for part in _OLD_PARTS):
        raise WeightsError(
            f"{folder} is a nano model of release 0.1, whose reenactor this version does not have: give the bundled "
            "nano or dex-nano, or a model that was trained with this version."
        )
    return index


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model folder.

    Args:
        path: the file.

    Returns:
        Its entries.

    Raises:
        WeightsError: it is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"{path} is missing; the model folder is incomplete, fetch or convert it again.") from error
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read as JSON; the model folder is damaged, fetch or convert it again."
        ) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no JSON object; the model folder is damaged, fetch or convert it again.")
    return content


def kind_of(kinds: type[ModelMixin] | tuple[type[ModelMixin], ...], config: dict[str, Any]) -> type[ModelMixin]:
    """The class of a network.

    Args:
        kinds: one class, or several.
        config: the network's config.json, which names it.

    Returns:
        Of several the one that is named, else the first.
    """
    several = kinds if isinstance(kinds, tuple) else (kinds,)
    return next((one for one in several if one.__name__ == config.get("_class_name")), several[0])


def load_part(
    kinds: type[ModelMixin] | tuple[type[ModelMixin], ...],
    folder: Path,
    dtype: torch.dtype | None = None,
    empty: bool = False,
) -> ModelMixin:
    """Build one network from its config.json and fill it strictly from its safetensors file; returned in eval mode.

    It is built without storage and takes over the file's tensors one by one, so that nothing is held twice. Weights in
    8 bits (`pipelines.int8_storage`) are restored.

    Args:
        kinds: the network's class, or several, the first of which is taken unless config.json names another.
        folder: holds both files.
        dtype: of the weights; None: single precision.
        empty: leave it without storage, on the meta device; the file is checked by its header alone.

    Raises:
        WeightsError: names the file and the keys.
    """
    dtype, path = dtype or torch.float32, folder / WEIGHTS
    config = read_json(folder / "config.json")
    kind = kind_of(kinds, config)
    settings = {k: v for k, v in config.items() if not k.startswith("_")}
    try:
        with torch.device("meta"), _no_init():
            network: ModelMixin = kind.from_config(settings)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{folder / 'config.json'} does not describe a {kind.__name__} ({error}).") from error
    wanted = {key: value.shape for key, value in network.state_dict().items()}
    with _opened(path) as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - no dict
        found = {key: torch.Size(one.get_shape()) for key, one in slices.items()}
        due = with_scales(wanted, {key: one.get_dtype() for key, one in slices.items()})
        check_keys(path, set(due), set(found))
        wrong = [key for key, shape in found.items() if shape != due[key]]
        if wrong:
            raise WeightsError(
                f"{path}: {wrong[0]} has shape {list(found[wrong[0]])}, the configuration wants "
                f"{list(due[wrong[0]])} ({len(wrong)} such keys)."
            )
        if empty:
            return torch.nn.Module.to(network, dtype).eval()
        tensors = {key: _own(file, key, key + SCALE in due, dtype) for key in wanted}
    network.load_state_dict(tensors, strict=True, assign=True)
    if any(buffer.is_meta for buffer in network.buffers()):  # those that are no part of the file are computed
        with _no_init():
            network = kind.from_config(settings)
        network.load_state_dict(tensors, strict=True)
    # Module.to, for diffusers' own warns of an empty list at every cast
    return torch.nn.Module.to(network, dtype).eval()


def _own(file: Any, key: str, in_int8: bool, dtype: torch.dtype) -> torch.Tensor:
    """A copy in `dtype`: what safetensors gives is the file itself, which may be written anew while it is in use."""
    tensor = file.get_tensor(key)
    if in_int8:
        return restored(tensor, file.get_tensor(key + SCALE), dtype)
    return tensor.to(dtype, copy=True) if tensor.is_floating_point() else tensor.clone()


def _no_init() -> AbstractContextManager[None]:
    """Inside, networks are built without drawing their weights, where diffusers knows how."""
    from diffusers.models import modeling_utils

    skipped: AbstractContextManager[None] = getattr(modeling_utils, "no_init_weights", nullcontext)()
    return skipped


def check_keys(path: Path, wanted: set[str], given: set[str]) -> None:
    """Compare the keys of a weight file.

    Args:
        path: the file, for the message.
        wanted: what the network has.
        given: what the file has.

    Raises:
        WeightsError: names the missing or unexpected ones.
    """
    for problem, keys in (("missing", sorted(wanted - given)), ("unexpected", sorted(given - wanted))):
        if keys:
            shown = ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
            raise WeightsError(f"{path}: {len(keys)} {problem} keys: {shown}.")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with utf8_path(path) as found, safe_open(found, "pt") as file:
            yield file
    except FileNotFoundError as error:
        raise WeightsError(f"{path} is missing; the model folder is incomplete, fetch or convert it again.") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file; fetch or convert it again.") from error


def load_scheduler(kinds: Mapping[str, type[SchedulerMixin]], folder: Path) -> SchedulerMixin:
    """The scheduler that a folder describes.

    Args:
        kinds: known ones by name.
        folder: with a scheduler_config.json.

    Returns:
        The scheduler.

    Raises:
        WeightsError: it is of no known kind.
    """
    settings = read_json(folder / "scheduler_config.json")
    name = str(settings.get("_class_name", ""))
    if name not in kinds:
        raise WeightsError(f"{folder}: unknown scheduler {name!r}.")
    return kinds[name].from_config(settings)
