"""ComfyUI's IMAGE (float [b, h, w, c]) and MASK (float [b, h, w]), both in [0, 1], and Mien's frames (uint8 [h, w, 3]).

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
_SHAPE_DIFFERENCE = 0.02  # of two pictures' sides, where one was scaled and its sides were rounded


def check_image(image: Tensor, name: str) -> None:
    """Raise InputError unless an IMAGE holds a picture at least. name: of the node's input."""
    if image.ndim == 4 and image.shape[-1] in (1, 3, 4):
        if len(image) == 0:
            raise InputError(f"{name} is an empty batch: connect one that holds a picture at least")
        if 0 not in image.shape:
            return
    raise InputError(f"{name} must be pictures [batch, height, width, channels], but it is {list(image.shape)}")


def frame_of(image: Tensor, index: int) -> NDArray[np.uint8]:
    """One picture of a batch, uint8 RGB [h, w, 3]; grey is repeated, transparency is laid over white."""
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


class Masks:
    """A MASK as `frames` masks of one size: a single one goes for all frames, else there is one for each."""

    def __init__(self, mask: Tensor, frames: int, height: int, width: int) -> None:
        """Raises InputError for an empty batch, a wrong number of masks, or masks of another shape than the picture."""
        masks = mask[None] if mask.ndim == 2 else mask
        if masks.ndim != 3 or 0 in masks.shape[1:]:
            raise InputError(f"mask must be masks [batch, height, width], but it is {list(mask.shape)}")
        if len(masks) == 0:
            raise InputError("mask is an empty batch: connect one that holds a mask at least, or disconnect it")
        if len(masks) not in (1, frames):
            raise InputError(f"mask holds {len(masks)} masks for {frames} squares: connect one, or one for each square")
        self._masks, self._size = masks, (height, width)
        self.is_black = not bool((masks > 0).any())
        tall, wide = masks.shape[1:]
        uneven = abs(tall * width - wide * height) > _SHAPE_DIFFERENCE * max(tall * width, wide * height)
        # a mask that is the same everywhere, such as the one that Load Image gives without transparency, fits any shape
        if uneven and bool((masks != masks[0, 0, 0]).any()):
            raise InputError(
                f"mask is {wide} x {tall} pixels, but the portrait has {width} x {height}: connect one of its shape"
            )

    def __getitem__(self, frame: int) -> Tensor:
        """The mask [h, w] of a frame, at the picture's size."""
        one = self._masks[frame if len(self._masks) > 1 else 0][None, None].detach().float().cpu().nan_to_num(0)
        fitted: Tensor = torch.nn.functional.interpolate(one, self._size, mode="bilinear")[0, 0].clamp(0, 1)
        return fitted


class BatchClip(Clip):
    """An IMAGE batch as a driver or as a source video, see `Clip`."""

    def __init__(self, image: Tensor, name: str, rate: Fraction = _RATE) -> None:
        """name: of the node's input, for messages to the user. rate: frames a second.

        Raises InputError if there is no picture in it.
        """
        check_image(image, name)
        height, width = image.shape[1:3]
        kind = "video" if len(image) > 1 else "image"
        super().__init__(ClipInfo(Path(name), kind, width, height, rate, len(image), len(image) / rate))
        self._image = image

    def timed(self) -> Iterator[tuple[NDArray[np.uint8], Fraction]]:
        """See `Clip.timed`."""
        for index in range(len(self._image)):
            yield frame_of(self._image, index), index / self.info.rate

    def count(self) -> int:
        """See `Clip.count`."""
        return len(self._image)
