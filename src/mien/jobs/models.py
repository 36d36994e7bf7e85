"""Loading a pipeline by the name the user gave: bundled, a folder, or a hub id; and choosing device and precision."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mien.errors import InputError, MienError, WeightsError
from mien.jobs.options import AnimateOptions

if TYPE_CHECKING:
    from mien.pipelines.dex_portrait import DeXPortraitPipeline
    from mien.pipelines.x_portrait import XPortraitPipeline

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_device(name: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "mps"; InputError if this machine has none of that kind."""
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if has[kind])
    if not has[name]:
        raise InputError(f"--device is {name}, but torch finds none here: use --device cpu, or see mien doctor")
    return torch.device(name)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision for "auto" or a name: bfloat16 or float16 on GPUs, float32 elsewhere."""
    if name != "auto":
        return _TYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


def load_pipeline(options: AnimateOptions) -> XPortraitPipeline:
    """The pipeline that `options` name, on its device; WeightsError or InputError if it cannot be loaded."""
    from mien.pipelines.x_portrait import XPortraitPipeline

    device = choose_device(options.device)
    _check_model_name(options.model)
    if options.lora is not None:
        check_weight_file(options.lora)
    try:
        pipe = XPortraitPipeline.from_pretrained(options.model, torch_dtype=choose_dtype(options.dtype, device))
    except MienError:
        raise
    except Exception as error:  # diffusers, safetensors and the hub raise a dozen kinds for unusable folders
        raise WeightsError(f"the model {options.model} cannot be loaded: {_first_sentence(error)}") from error
    if options.fast:
        pipe.use_few_steps(options.lora)
    return pipe.to(device)


def load_dex_pipeline(model: str, device: str, dtype: str) -> DeXPortraitPipeline:
    """The DeX-Portrait pipeline by name, on its device; WeightsError or InputError if it cannot be loaded."""
    from mien.pipelines.dex_portrait import DeXPortraitPipeline

    chosen = choose_device(device)
    _check_model_name(model)
    try:
        pipe = DeXPortraitPipeline.from_pretrained(model, torch_dtype=choose_dtype(dtype, chosen))
    except MienError:
        raise
    except Exception as error:  # diffusers, safetensors and the hub raise a dozen kinds for unusable folders
        raise WeightsError(f"the model {model} cannot be loaded: {_first_sentence(error)}") from error
    return pipe.to(chosen)


def check_weight_file(path: Path) -> None:
    """Raise InputError unless `path` is a safetensors file; other formats may run code when they are opened."""
    if not path.is_file():
        raise InputError(f"{path} does not exist or is no file: name a .safetensors file")
    if path.suffix != ".safetensors":
        raise InputError(f"{path} is not a .safetensors file: other formats can run code, so they are not opened")


def _check_model_name(name: str) -> None:
    try:
        is_folder, is_file = Path(name).is_dir(), Path(name).is_file()
    except OSError:  # a name that is too long to be looked up
        is_folder = is_file = False
    if name == "nano" or is_folder:
        return
    if is_file:
        raise InputError(
            f"the model {name} is a file, but a folder is needed: turn a checkpoint into one by mien convert x-portrait"
        )
    if not _HUB_ID.fullmatch(name):
        raise InputError(f"there is no model {name}: give nano, an existing folder, or a hub id such as owner/name")


def _first_sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
