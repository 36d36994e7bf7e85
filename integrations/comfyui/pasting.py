"""Putting squares back into the portrait they were made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.errors import InputError
from mien.geometry import paste_back
from mien.media.watermark import marked

from . import host
from .images import Masks, batch_of, check_image, frame_of
from .session import Subject


def paste(
    subject: Subject, squares: Tensor, feather: float, mask: Tensor | None, watermark: bool
) -> tuple[Tensor, Tensor]:
    """Whole pictures [n, h, w, 3], and how much of each pixel is new [n, h, w].

    mask: where the picture may change, one or n. Raises InputError for squares that are not square, and see `Masks`.
    """
    check_image(squares, "squares")
    tall, wide = squares.shape[1:3]
    if tall != wide:
        raise InputError(f"squares are {wide} x {tall} pixels, but must be square: connect what Animate or Edit made")
    picture, crop, count = subject.portrait.image, subject.portrait.crop, len(squares)
    allowed = None if mask is None else Masks(mask, count, *picture.shape[:2])
    if allowed is not None and allowed.is_black:
        host.tell(
            "mask is black everywhere, so nothing of the picture may change: paint white where it may, or disconnect it"
            " (Load Image gives such a mask for pictures without transparency)"
        )
    progress = host.NodeProgress(1)
    progress.stage("Pasting", count)
    new = torch.empty(count, *picture.shape[:2])

    def pasted() -> Iterator[NDArray[np.uint8]]:
        for index in range(count):
            laid = paste_back(picture, crop, frame_of(squares, index), feather=feather, mask_out=True)
            whole, weight = laid[..., :3], torch.from_numpy(laid[..., 3].astype(np.float32) / 255)
            if allowed is not None:
                there = allowed[index]
                whole, weight = _blended(whole, picture, there), weight * there
            new[index] = weight
            yield marked(whole) if watermark else whole

    return batch_of(progress.frames(pasted(), count, computed=False), count), new


def _blended(whole: np.ndarray, picture: np.ndarray, allowed: Tensor) -> NDArray[np.uint8]:
    weight = allowed.numpy()[..., None]
    blended: NDArray[np.uint8] = np.round(whole * weight + picture * (1 - weight)).astype(np.uint8)
    return blended
