"""Mien's nodes for ComfyUI. This folder goes into ComfyUI/custom_nodes; see README.md."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

WEB_DIRECTORY = "./web"  # help pages of the nodes, and what a fresh Edit node does with its seed


def _check_surroundings() -> None:
    """Raise ModuleNotFoundError, in one sentence that says what to do, where a package is missing or broken."""
    if find_spec("mien") is None:
        raise ModuleNotFoundError(
            "Mien is not installed in the Python that runs ComfyUI: see the node pack's README.md"
        )
    if find_spec("comfy_api") is None or find_spec("comfy_api.latest") is None:
        raise ModuleNotFoundError("Mien's nodes need ComfyUI 0.3.48 or later: update ComfyUI")
    opencv = find_spec("cv2")
    if opencv is None or opencv.origin is None:
        # two OpenCV packages share the folder cv2: removing one of them leaves the other without its files
        raise ModuleNotFoundError(
            "OpenCV is broken in the Python that runs ComfyUI, most likely because one of two OpenCV packages was"
            " removed: python -m pip install --force-reinstall --no-deps opencv-python-headless"
        )


_check_surroundings()


async def comfy_entrypoint() -> Any:
    """What ComfyUI calls to get the nodes (schema V3)."""
    from comfy_api.latest import ComfyExtension

    from .nodes import NODES

    class MienExtension(ComfyExtension):  # type: ignore[misc]
        async def get_node_list(self) -> list[type]:
            return list(NODES)

    return MienExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
