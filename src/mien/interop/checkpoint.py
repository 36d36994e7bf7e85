"""Reading a foreign checkpoint without running any code that may hide in it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.torch_version import TorchVersion

from mien.errors import InputError, WeightsError

# where trainers put the model inside a checkpoint
_NESTS = ("state_dict", "model_state_dict", "module")


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Name to tensor of a .safetensors file or a torch checkpoint (.th, .pt, .ckpt, .bin), mapped from disk.

    Torch files are opened with `weights_only=True`. Raises InputError for no file, WeightsError for one that would run
    code, is damaged, or holds something other than tensors.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is no file: name the checkpoint file.")
    content: Any
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _load_torch(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is damaged, or holds more than tensors and would run code when opened, so it was not opened; "
            "fetch it again, or save only its state dict, best as .safetensors."
        ) from error
    except (SafetensorError, EOFError, OSError, RuntimeError, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read as a checkpoint; it is damaged or not whole, fetch it again."
        ) from error
    for nest in _NESTS:
        if isinstance(content, Mapping) and isinstance(content.get(nest), Mapping):
            content = content[nest]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path} holds no state dict (names and tensors).")
    strange = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise WeightsError(f"{path}: not a tensor: {', '.join(strange[:4])}; save only the model's state dict.")
    return dict(content)


def _load_torch(path: Path) -> Any:
    if TorchVersion(torch.__version__) < "2.6":
        # CVE-2025-32434: up to 2.5.1 a crafted file could run code in spite of weights_only
        raise WeightsError(
            f"{path} is only safe to open with torch 2.6 or newer, and this is {torch.__version__}; update torch."
        )
    # files of torch before 1.6 are no zip archives and cannot be mapped
    with path.open("rb") as file:
        mapped = file.read(4) == b"PK\x03\x04"
    return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
