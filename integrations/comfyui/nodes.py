"""All nodes. Their names, inputs and outputs are frozen: graphs that people have saved depend on them.

`tests/integrations/comfyui_signatures.json` holds them all; new inputs are optional ones with a default that changes
nothing, or, with a widget, come last. What needs Mien's models is imported when a node runs, so that ComfyUI starts as
fast as without them.
"""

from __future__ import annotations

from .nodes_motion import (
    MienAnimate,
    MienAnimateApart,
    MienAnimateKeyframes,
    MienAnimateList,
    MienAnimateVideo,
    MienControl,
    MienEdit,
    MienKeyframe,
)
from .nodes_portrait import MienLoadModel, MienPasteBack, MienSetPortrait

NODES = (
    MienLoadModel,
    MienSetPortrait,
    MienControl,
    MienAnimate,
    MienAnimateApart,
    MienEdit,
    MienKeyframe,
    MienAnimateKeyframes,
    MienAnimateList,
    MienAnimateVideo,
    MienPasteBack,
)
