"""Mien's nodes for ComfyUI. This folder goes into ComfyUI/custom_nodes; see README.md."""

from importlib.util import find_spec

if find_spec("mien") is None:
    raise ModuleNotFoundError("Mien is not installed in the Python that runs ComfyUI: see the node pack's README.md")

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
