"""Somebody neutral who performs an expression before the model where there is no driving video.

A model for face windows paints what it sees a driving face do. Sliders, expressions of pictures and lists of moments
have none: here the head model's mean performs them, rendered as the driving faces were that the model was trained on.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mien.geometry import HeadPose
from mien.motion.keypoint_motion import Floats
from mien.typing import Picture

_SIDE = 256  # of its pictures, pixels: as large as those that the bundled model was trained on
_KEPT = 64  # pictures


class Performer:
    """The head model's mean, before a plain wall; see the module.

    Deterministic. Making one takes a second or two, a picture some 30 ms.
    """

    def __init__(self, side: int = _SIDE) -> None:
        """side: of its pictures, pixels."""
        # numba takes a while, and whoever changes no expression does without
        from mien.avatars.head_model import BUNDLED_PACK, load_head_model
        from mien.avatars.motion_clip import neutral_person

        self._side, self._person = side, neutral_person(load_head_model(BUNDLED_PACK))
        self._made: OrderedDict[bytes, tuple[Picture, NDArray[np.float32]]] = OrderedDict()
        self._lock = threading.Lock()  # several people of a page edit at a time

    def frame(self, pose: HeadPose, blendshapes: Floats) -> tuple[Picture, NDArray[np.float32]]:
        """What a driving video would show.

        Args:
            pose: of the head; only its turn counts.
            blendshapes: [52] in [0, 1], as a reader reads them.

        Returns:
            The picture, uint8 [s, s, 3], and where the performer's keypoints would be in that pose without expression,
            [70, 2], pixels.
        """
        key = np.concatenate([np.asarray(pose.rotation, np.float32), np.asarray(blendshapes, np.float32)]).tobytes()
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
            else:
                self._made[key] = self._performed(pose, blendshapes)
            if len(self._made) > _KEPT:
                self._made.popitem(last=False)
            return self._made[key]

    def _performed(self, pose: HeadPose, blendshapes: Floats) -> tuple[Picture, NDArray[np.float32]]:
        from mien.avatars.camera import HeadMotion
        from mien.avatars.motion import performed

        model, motion = self._person.model, HeadMotion(pose.yaw, pose.pitch, pose.roll)
        expression = performed(model, model.from_blendshapes(blendshapes)[None])[0]
        image = self._person.render(expression, motion, self._side).image
        return image, self._person.neutral_keypoints(motion, self._side)


@lru_cache(maxsize=1)
def performer() -> Performer:
    """The performer of this process: pictures are kept for as long as they are asked for again and again."""
    return Performer()
