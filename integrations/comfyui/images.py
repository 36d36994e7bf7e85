"""ComfyUI's IMAGE (float [b, h, w, c] in [0, 1]) and Mien's frames (uint8 [h, w, 3]), one frame at a time.

A batch is never copied whole: what comes in is turned frame by frame, what goes out is written into its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.errors import InputError
from mien.media import Clip, ClipInfo

_RATE = Fraction(25)  # a batch has no rate; ComfyUI carries it beside the frames


def frame_of(image: Tensor, index: int) -> NDArray[np.uint8]:
    """One picture of a batch, uint8 RGB [h, w, 3]; grey is repeated, transparency is laid over white."""
    if image.ndim != 4 or image.shape[-1] not in (1, 3, 4) or len(image) == 0:
        raise InputError(f"an IMAGE must be [batch, height, width, channels], but this one is {list(image.shape)}")
    picture = image[index].detach().float().cpu()
    if picture.shape[-1] == 1:
        picture = picture.expand(-1, -1, 3)
    elif picture.shape[-1] == 4:
        picture = picture[..., :3] * picture[..., 3:] + (1 - picture[..., 3:])
    array: NDArray[np.uint8] = (picture.nan_to_num(0).clamp(0, 1) * 255).round().byte().numpy()
    return array


def batch_of(frames: Iterable[NDArray[np.uint8]], count: int) -> Tensor:
    """`count` frames uint8 [h, w, c] as one batch [count, h, w, c]; the batch is allocated once, at the first frame."""
    batch, filled = torch.empty(0), 0
    for filled, frame in enumerate(frames, 1):
        if filled == 1:
            batch = torch.empty(count, *frame.shape)
        torch.div(torch.from_numpy(np.array(frame)), 255, out=batch[filled - 1])
    if filled != count:
        raise RuntimeError(f"there are {filled} frames where {count} were promised")
    return batch


class BatchClip(Clip):
    """An IMAGE batch as a driver, see `Clip`."""

    def __init__(self, image: Tensor, name: str) -> None:
        """name: what messages to the user call it."""
        height, width = frame_of(image, 0).shape[:2]
        kind = "video" if len(image) > 1 else "image"
        super().__init__(ClipInfo(Path(name), kind, width, height, _RATE, len(image), len(image) / _RATE))
        self._image = image

    def timed(self) -> Iterator[tuple[NDArray[np.uint8], Fraction]]:
        """See `Clip.timed`."""
        for index in range(len(self._image)):
            yield frame_of(self._image, index), index / self.info.rate

    def count(self) -> int:
        """See `Clip.count`."""
        return len(self._image)
