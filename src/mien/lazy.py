"""Packages whose public names are imported when they are first used, so that a command brings in only what it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """What a package's `__init__` calls `__getattr__` and `__dir__` (PEP 562).

    Args:
        package: `__name__` of the package.
        homes: the module that defines each public name.

    Returns:
        The two functions.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*homes, *getattr(sys.modules[package], "__all__", ())})

    return find, names
