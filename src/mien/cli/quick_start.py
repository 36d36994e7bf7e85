"""Importing diffusers without all that it merely supports, which is most of the start of a command.

diffusers looks for transformers, peft and others, and imports what it finds, as it does torch's compiler: together two
thirds of its time. Its own packages of networks import all that they hold, a hundred and more. A command that animates
uses none of these. Only commands call this; who imports mien in a program of their own gets diffusers as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_LEFT_OUT = ("transformers", "peft", "accelerate", "scipy", "torch._dynamo")
_BARE = tuple(f"diffusers.models.{name}" for name in ("autoencoders", "controlnets", "transformers", "unets"))


def import_diffusers(*, whole: bool = False) -> None:
    """Import what pipelines need of diffusers.

    Args:
        whole: with the packages that it supports, which a LoRA and `placed` weights need.
    """
    if "diffusers" in sys.modules:
        return
    import torch  # noqa: F401 - before its compiler is hidden

    if not whole:
        try:
            with _without_extras(), _bare_packages():
                _import()
            return
        except Exception:  # a version that cannot do without them: as it is, then
            for name in [name for name in sys.modules if name.partition(".")[0] == "diffusers"]:
                del sys.modules[name]
    _import()


def placed(options: Any) -> bool:
    """Whether options say that weights are kept in main memory or in 8 bits."""
    return bool(options.offload != "none" or options.quantize != "none")


def _import() -> None:
    from diffusers import (  # noqa: F401
        AutoencoderKL,
        ControlNetModel,
        DDIMScheduler,
        DiffusionPipeline,
        LCMScheduler,
        ModelMixin,
        SchedulerMixin,
        UNet2DConditionModel,
    )


@contextmanager
def _without_extras() -> Iterator[None]:
    """Inside, the packages cannot be found, and no function is marked for a compiler that is not there."""
    import importlib.metadata

    import torch.compiler

    def unmarked(fn: Any = None, *_: Any, **__: Any) -> Any:
        return fn if callable(fn) else lambda function: function

    hidden = [name for name in _LEFT_OUT if name not in sys.modules]
    packages_of, disable = importlib.metadata.packages_distributions, torch.compiler.disable
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # the import system's "there is none"
    # which distribution a package came from: diffusers would look at every file that is installed
    importlib.metadata.packages_distributions = lambda: {}
    if "torch._dynamo" in hidden:
        torch.compiler.disable = unmarked
    try:
        yield
    finally:
        importlib.metadata.packages_distributions, torch.compiler.disable = packages_of, disable
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _bare_packages() -> Iterator[None]:
    """Inside, some packages of diffusers hold nothing but their modules, each of which is imported when it is named.

    Afterwards they are imported whole by whoever names them, with the modules that are there already.
    """
    import diffusers.models

    for name in _BARE:
        package = ModuleType(name)
        package.__path__ = [f"{folder}/{name.rpartition('.')[2]}" for folder in diffusers.models.__path__]
        sys.modules[name] = package
    try:
        yield
    finally:
        for name in _BARE:
            sys.modules.pop(name, None)
