"""Latents into pictures: in pieces that fit into memory, and checked for what half precision cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.diffusion import SamplerState
from mien.pipelines.pictures import to_uint8

_SAID = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")


class NotFinite(ArithmeticError):
    """The networks gave numbers that are none (NaN or infinite): in half precision they may be too large for it."""


class Checkpoint(Protocol):
    """Keeps what a run has finished, so that one that is killed can go on."""

    def state(self) -> SamplerState | None:
        """Where an earlier run stopped; None: nowhere."""

    def save(self, frames: Sequence[NDArray[Any]], state: Callable[[], SamplerState]) -> None:
        """Keep frames that are done.

        Args:
            frames: uint8 [h, w, 3], or packed face windows.
            state: called for where the run stands now.
        """


def finished_frames(checkpoint: Checkpoint | None) -> int:
    """How many frames an earlier run has finished.

    Args:
        checkpoint: what kept them; None: nothing did.

    Returns:
        The count, from 0.
    """
    state = None if checkpoint is None else checkpoint.state()
    return 0 if state is None else state.emitted


def unfinished(checkpoint: Checkpoint | None, *streams: Iterable[Any] | None) -> tuple[Any, ...]:
    """Streams without the entries of frames that an earlier run has finished.

    Args:
        checkpoint: what kept them; None: nothing did.
        streams: with an entry a frame; None stays None.

    Returns:
        As many streams.
    """
    done = finished_frames(checkpoint)
    return tuple(stream if stream is None or not done else islice(stream, done, None) for stream in streams)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device.

    Args:
        error: some of torch's are plain RuntimeErrors.

    Returns:
        True if it does.
    """
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SAID)


class Decoder:
    """Latents to frames; where memory runs out, in halves from then on, and single frames in tiles."""

    def __init__(
        self,
        decode: Callable[[Sequence[Any]], Tensor],
        note: Callable[[str], None] | None,
        use_tiles: Callable[[], bool] | None = None,
    ) -> None:
        """Set up.

        Args:
            decode: some items to pixels [n, 3, h, w] in [-1, 1].
            note: told in a sentence when memory ran out.
            use_tiles: has pictures decoded in tiles from then on; False: nothing is gained by that.
        """
        self._decode, self._note, self._use_tiles, self._size = decode, note, use_tiles, 0

    def __call__(self, chunk: Sequence[Any]) -> list[NDArray[Any]]:
        """Frames uint8 [h, w, 3]; what a single frame needs must be there. Raises NotFinite."""
        frames: list[NDArray[Any]] = []
        while len(frames) < len(chunk):
            part = chunk[len(frames) :][: self._size or len(chunk)]
            try:
                pixels = self._decode(part)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(part) > 1:
                    self._size = len(part) // 2
                    said = f"pictures are decoded {self._size} at a time, more slowly"
                elif self._use_tiles is not None and self._use_tiles():
                    said = "pictures are decoded in tiles, whose seams are blended, more slowly"
                else:
                    raise
            else:
                if not torch.isfinite(pixels).all():
                    raise NotFinite
                frames += to_uint8(pixels)
                continue
            release_memory()  # here, where the error no longer holds what it was raised over
            if self._note is not None:
                self._note(f"memory ran out, so {said}")
        return frames


def release_memory() -> None:
    """Give back what torch has set aside on a GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
