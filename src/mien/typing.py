"""Types that several rooms share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

# uint8 [h, w, 3], RGB
Picture = NDArray[np.uint8]
# a portrait [s, s, 3] and driving frames of the same size to the portrait in their motion
Reenact = Callable[[Picture, Sequence[Picture]], list[Picture]]
