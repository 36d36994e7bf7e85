"""Pictures at the pipelines' border: PIL, uint8 arrays or tensors in; PIL, arrays or tensors out. Written once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar, Union

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

PictureLike: TypeAlias = Union[Image.Image, NDArray[np.uint8], Tensor]  # noqa: UP007 - evaluated at run time
Item = TypeVar("Item")


def to_pixels(pictures: Sequence[PictureLike], size: int) -> Tensor:
    """Pictures as the networks take them; those that are not square are stretched: crop before.

    Args:
        pictures: PIL, uint8 [h, w, 3] or tensors [3, h, w] in [-1, 1].
        size: side of the result, pixels.

    Returns:
        [n, 3, size, size] in [-1, 1].

    Raises:
        ValueError: for other shapes.
    """
    return torch.stack([_one(picture, size) for picture in pictures])


def _one(picture: PictureLike, size: int) -> Tensor:
    if isinstance(picture, Tensor):
        if picture.ndim != 3 or picture.shape[0] != 3:
            raise ValueError(f"a picture tensor must be [3, h, w], not {list(picture.shape)}")
        if picture.shape[1:] == (size, size):
            return picture.float()
        return torch.nn.functional.interpolate(
            picture[None].float(), (size, size), mode="bilinear", antialias=True, align_corners=False
        )[0]
    array = as_uint8(picture)
    if array.shape[:2] != (size, size):
        smaller = array.shape[0] > size
        array = cv2.resize(array, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return torch.from_numpy(np.array(array)).permute(2, 0, 1).float() / 127.5 - 1


def to_uint8(pixels: Tensor) -> list[NDArray[np.uint8]]:
    """What networks made as pictures.

    Args:
        pixels: [n, 3, h, w] in [-1, 1]; beyond that it is clipped. Bytes stay as they are.

    Returns:
        n arrays uint8 [h, w, 3].
    """
    if pixels.dtype == torch.uint8:
        return list(pixels.permute(0, 2, 3, 1).cpu().numpy())
    array = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return list(array)


def as_uint8(picture: PictureLike) -> NDArray[np.uint8]:
    """One picture as an array.

    Args:
        picture: PIL, uint8 [h, w, 3], or a tensor [3, h, w] in [-1, 1].

    Returns:
        uint8 [h, w, 3].

    Raises:
        ValueError: for others.
    """
    if isinstance(picture, Tensor):
        return to_uint8(picture[None])[0]
    array = np.asarray(picture.convert("RGB") if isinstance(picture, Image.Image) else picture)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ValueError(f"a picture must be uint8 [h, w, 3], not {array.dtype} {list(array.shape)}")
    return array


def as_output(frames: list[NDArray[np.uint8]], kind: str) -> Any:
    """Frames in the form that was asked for.

    Args:
        frames: uint8 [h, w, 3].
        kind: "pil", "np" or "pt".

    Returns:
        A list of PIL pictures, uint8 [f, h, w, 3], or a tensor [f, 3, h, w] in [-1, 1].

    Raises:
        ValueError: there is no such form.
    """
    if kind == "pil":
        return [Image.fromarray(frame) for frame in frames]
    if kind == "np":
        return np.stack(frames)
    if kind == "pt":
        return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    raise ValueError(f'output_type must be "pil", "np" or "pt", not {kind!r}')


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of consecutive items.

    Args:
        items: any stream.
        size: of a list; the last may be shorter.

    Yields:
        The lists.
    """
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
