"""Loading a pipeline by the name the user gave: bundled, a folder, or a hub id; and choosing device and precision."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch

from mien.errors import InputError, MienError, WeightsError
from mien.pipelines.loading import find_folder, read_json
from mien.pipelines.placement import check_placement, place


@dataclass(frozen=True)
class System:
    """A kind of model: what loads it and what animates with it, imported when they are needed.

    A model folder is of the system whose pipeline's class its model_index.json names as `_class_name`.

    Attributes:
        pipeline: module and class, such as "mien.pipelines.x_portrait:XPortraitPipeline".
        animator: the same of its `Animator`.
        bundled: the name of the model that comes with the package; empty: none does.
        window_animator: the same for models that paint face windows; empty: there are none.
    """

    pipeline: str
    animator: str
    bundled: str = ""
    window_animator: str = ""

    @property
    def class_name(self) -> str:
        """The pipeline's class, as model_index.json says it."""
        return self.pipeline.partition(":")[2]


# every system by its short name, which records keep; to add a model, add it here
SYSTEMS = {
    "x": System(
        "mien.pipelines.x_portrait:XPortraitPipeline",
        "mien.animation.x_portrait:XPortraitAnimator",
        bundled="nano",
        window_animator="mien.animation.window_animator:WindowAnimator",
    ),
    "dex": System(
        "mien.pipelines.dex_portrait:DeXPortraitPipeline",
        "mien.animation.dex_portrait:DeXPortraitAnimator",
        bundled="dex-nano",
        window_animator="mien.animation.dex_window:DeXWindowAnimator",
    ),
    "face-vid2vid": System(
        "mien.pipelines.face_vid2vid:FaceVid2VidPipeline", "mien.animation.face_vid2vid:FaceVid2VidAnimator"
    ),
}
_BUNDLED = {system.bundled: name for name, system in SYSTEMS.items() if system.bundled}

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: "auto" (cuda, else mps, else cpu), "cpu", "cuda" or "mps".

    Returns:
        The device.

    Raises:
        InputError: if this machine has none of that kind.
    """
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if has[kind])
    if not has[name]:
        raise InputError(f"--device is {name}, but torch finds none here: use --device cpu, or see mien doctor")
    return torch.device(name)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision of a name.

    Args:
        name: "float32", "float16", "bfloat16", or "auto": bfloat16 or float16 on GPUs, bfloat16 on processors that
            multiply it in tiles (Intel's AMX), float32 on others.
        device: where the model is to run.

    Returns:
        The type.
    """
    if name != "auto":
        return _TYPES[name]
    if device.type == "cpu":
        return torch.bfloat16 if has_bfloat16_tiles() else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


def has_bfloat16_tiles() -> bool:
    """Whether the processor multiplies matrices of bfloat16 in tiles (Intel's AMX), in half the time of float32."""
    told = getattr(torch.cpu, "_is_amx_tile_supported", None)  # torch has no public name for it
    return bool(told is not None and told())


def system_of(model: str) -> str | None:
    """Which system a model is of, by its name and the index of its folder.

    Args:
        model: a bundled model's name, a folder or a hub id.

    Returns:
        A key of `SYSTEMS`; None: not known before it is loaded.
    """
    if model in _BUNDLED:
        return _BUNDLED[model]
    index = Path(model) / "model_index.json"
    try:
        kind = read_json(index).get("_class_name") if index.is_file() else None
    except OSError:  # a name that is too long to be looked up
        kind = None
    return next((name for name, system in SYSTEMS.items() if system.class_name == kind), None)


def on_windows(model: str) -> bool:
    """Whether a model works on face windows, by the index of its folder.

    Args:
        model: a bundled model's name, a folder or a hub id.

    Returns:
        False where it is not known here.
    """
    system = _BUNDLED.get(model)
    folder = Path(model)
    if system is not None:
        folder = resolve_name(SYSTEMS[system].pipeline).find(model)
    try:
        index = folder / "model_index.json"
        part = read_json(index).get("window_head") if index.is_file() else None
    except OSError:  # a name that is too long to be looked up
        part = None
    return part not in (None, [None, None])


def load_pipeline(
    model: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    fast: bool = False,
    lora: Path | None = None,
    offload: str = "none",
    quantize: str = "none",
    empty: bool = False,
) -> Any:
    """Load a pipeline; which one it is says the model's own index.

    Args:
        model: "nano", "dex-nano", a folder or a hub id.
        device: "auto", "cpu", "cuda" or "mps".
        dtype: "auto", "float32", "float16" or "bfloat16".
        fast: few steps by the LCM sampler (X-Portrait).
        lora: LCM weights for it, a .safetensors file.
        offload: "none", "model" or "group", see `pipelines.placement.place`.
        quantize: "none", "int8" or "fp8".
        empty: on the meta device, without weights, from the configs alone.

    Returns:
        An `XPortraitPipeline`, `DeXPortraitPipeline` or `FaceVid2VidPipeline`.

    Raises:
        WeightsError: if the folder is damaged or of no system that is known here.
        InputError: if there is no such model or device.
    """
    chosen = choose_device(device)
    check_placement(chosen, offload, quantize)
    _check_model_name(model)
    if lora is not None:
        check_weight_file(lora)
    if model not in _BUNDLED and not Path(model).is_dir():
        model = str(find_folder(model))
    kind = resolve_name(SYSTEMS[system_of(model) or "x"].pipeline)
    try:
        pipe = kind.from_pretrained(model, torch_dtype=choose_dtype(dtype, chosen), empty=empty)
    except MienError:
        raise
    except Exception as error:  # diffusers, safetensors and the hub raise a dozen kinds for unusable folders
        raise WeightsError(f"the model {model} cannot be loaded: {_first_sentence(error)}") from error
    if fast and hasattr(pipe, "use_few_steps"):
        pipe.use_few_steps(None if empty else lora)
    return pipe if empty else place(pipe, chosen, offload, quantize)


def check_weight_file(path: Path) -> None:
    """Refuse other formats than safetensors, which may run code when they are opened.

    Args:
        path: the file.

    Raises:
        InputError: unless it is there and a .safetensors file.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is no file: name a .safetensors file")
    if path.suffix != ".safetensors":
        raise InputError(f"{path} is not a .safetensors file: other formats can run code, so they are not opened")


def _check_model_name(name: str) -> None:
    try:
        is_folder, is_file = Path(name).is_dir(), Path(name).is_file()
    except OSError:  # a name that is too long to be looked up
        is_folder = is_file = False
    if name in _BUNDLED or is_folder:
        return
    if is_file:
        raise InputError(
            f"the model {name} is a file, but a folder is needed: turn a checkpoint into one by mien convert x-portrait"
        )
    if not _HUB_ID.fullmatch(name):
        raise InputError(
            f"there is no model {name}: give {', '.join(_BUNDLED)}, an existing folder, or a hub id such as owner/name"
        )


def _first_sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
