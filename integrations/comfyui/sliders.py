"""The sliders of the Edit node, in the scores that face readers give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# What a slider adds to the scores, by the ARKit shapes' names; the second group is what it adds below 0.
SLIDERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "smile": (("mouthSmileLeft", "mouthSmileRight"), ("mouthFrownLeft", "mouthFrownRight")),
    "open_mouth": (("jawOpen",), ()),
    "pucker": (("mouthPucker",), ()),
    "close_eyes": (("eyeBlinkLeft", "eyeBlinkRight"), ("eyeWideLeft", "eyeWideRight")),
    "brows": (("browInnerUp", "browOuterUpLeft", "browOuterUpRight"), ("browDownLeft", "browDownRight")),
    "look_aside": (("eyeLookInRight", "eyeLookOutLeft"), ("eyeLookInLeft", "eyeLookOutRight")),
    "look_up": (("eyeLookUpLeft", "eyeLookUpRight"), ("eyeLookDownLeft", "eyeLookDownRight")),
}


def moved_scores(scores: NDArray[np.floating], sliders: dict[str, float]) -> NDArray[np.float64]:
    """Expression scores [52] with the sliders' shares added, within [0, 1]."""
    from mien.faces import EXPRESSION_NAMES

    moved = np.array(scores, np.float64)
    for name, value in sliders.items():
        raised, lowered = SLIDERS[name]
        for shapes, amount in ((raised, value), (lowered, -value)):
            moved[[EXPRESSION_NAMES.index(shape) for shape in shapes]] += amount
    return moved.clip(0, 1)
