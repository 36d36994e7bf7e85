"""Latents into pictures: in pieces that fit into memory, checked for what half precision cannot hold, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.diffusion import DenoisingFront, FrontState
from mien.pipelines.pictures import batches, to_uint8

_SAID = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")


class NotFinite(ArithmeticError):
    """The networks gave numbers that are none (NaN or infinite): in half precision they may be too large for it."""


class Keeper(Protocol):
    """Keeps what a run has finished, so that one that is killed can go on."""

    def begun(self) -> FrontState | None:
        """Where an earlier run stopped; None: nowhere."""

    def keep(self, frames: Sequence[NDArray[Any]], state: Callable[[], FrontState]) -> None:
        """Frames uint8 [h, w, 3] are done; `state` says where the run stands now."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device; some of torch's are plain RuntimeErrors."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SAID)


def finish(
    decode: Callable[[Sequence[Any]], Tensor], chunks: Iterator[list[Any]], note: Callable[[str], None] | None
) -> Iterator[list[NDArray[Any]]]:
    """Frames uint8 [h, w, 3] of one chunk after the other; `decode` gives [n, 3, h, w] in [-1, 1].

    Where memory runs out, it and all that follow are decoded in halves, and `note` is told; what a single frame needs
    must be there. Raises NotFinite.
    """
    size: int | None = None
    for chunk in chunks:
        pictures: list[NDArray[Any]] = []
        while len(pictures) < len(chunk):
            part = chunk[len(pictures) :][: size or len(chunk)]
            try:
                pixels = decode(part)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or len(part) == 1:
                    raise
                size = len(part) // 2
            else:
                if not torch.isfinite(pixels).all():
                    raise NotFinite
                pictures += to_uint8(pixels)
                continue
            release_memory()  # here, where the error no longer holds what it was raised over
            if note is not None:
                note(f"memory ran out, so pictures are decoded {size} at a time, more slowly")
        yield pictures


def kept(
    front: DenoisingFront,
    released: Iterator[Any],
    decode: Callable[[Sequence[Any]], Tensor],
    chunk_size: int,
    keeper: Keeper | None,
    note: Callable[[str], None] | None,
) -> Iterator[NDArray[Any]]:
    """Frames uint8 [h, w, 3] of what a front has `released`, decoded by `chunk_size` (see `finish`) and kept."""
    for pictures in finish(decode, batches(released, chunk_size), note):
        if keeper is not None:
            keeper.keep(pictures, front.state)
        yield from pictures


def release_memory() -> None:
    """Give back what torch has set aside on a GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
