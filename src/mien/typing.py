"""Types that several rooms share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

# uint8 [h, w, 3], RGB
Picture = NDArray[np.uint8]
# a portrait [s, s, 3] and driving frames of the same size to the portrait in their motion
Reenact = Callable[[Picture, Sequence[Picture]], list[Picture]]


def field_types(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields by name.

    Python 3.10 takes the mark `_: KW_ONLY` for a type and refuses it; here it is none.
    """
    hints = get_type_hints(kind, localns={"KW_ONLY": type(None)})
    return {name: hint for name, hint in hints.items() if name != "_"}
