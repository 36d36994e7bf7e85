"""Frames that are kept, decoded in halves where memory runs out, and refused where they are no numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from keeping import Memory
from mien.pipelines.finishing import Decoder, NotFinite, is_out_of_memory
from mien.pipelines.x_portrait import XPortraitPipeline
from samples import job_pipeline


def pictures(count: int, seed: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 255, (count, 64, 64, 3), dtype=np.uint8))


def stream(pipe: XPortraitPipeline, keeper: Memory, **options: Any) -> Any:
    drive = pictures(29, 2)
    return pipe.stream(drive, drive, generator=torch.Generator().manual_seed(3), checkpoint=keeper, **options)


@pytest.mark.parametrize("fast", [False, True])
def test_a_stream_that_goes_on_gives_the_frames_that_were_not_kept(fast: bool) -> None:
    pipe = job_pipeline()
    if fast:
        pipe.use_few_steps()
    pipe.set_portrait(pictures(1, 1))
    whole = np.stack(list(stream(pipe, Memory(), decode_chunk_size=4))).astype(int)
    killed = Memory()
    list(islice(stream(pipe, killed, decode_chunk_size=4), 6))  # in the middle of the second piece
    assert len(killed.frames) == 8
    told: list[float] = []
    after = Memory(killed.stopped)
    rest = list(stream(pipe, after, decode_chunk_size=4, count=29, progress=told.append))
    assert len(rest) == 21 and len(after.frames) == 21
    assert np.abs(np.stack([*killed.frames, *rest]) - whole).max() == 0
    assert 0.3 < told[0] < told[-1] <= 1


def test_memory_that_runs_out_halves_the_pieces() -> None:
    asked: list[int] = []

    def decode(part: Sequence[int]) -> torch.Tensor:
        asked.append(len(part))
        if len(part) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return torch.tensor(part).view(-1, 1, 1, 1).expand(-1, 3, 2, 2) / 127.5 - 1

    told: list[str] = []
    decoder = Decoder(decode, told.append)
    made = [decoder(list(range(7))), decoder([7, 8, 9])]
    assert [int(frame[0, 0, 0]) for piece in made for frame in piece] == list(range(10))
    assert [len(piece) for piece in made] == [7, 3]
    assert asked == [7, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] and len(told) == 2
    assert "1 at a time" in told[-1]


def test_a_single_picture_that_does_not_fit_is_decoded_in_tiles() -> None:
    pipe, told, sides = job_pipeline(), list[str](), list[int]()
    side, decode = pipe.image_size, pipe.vae.decoder.forward
    latents = torch.randn(4, side // 2, side // 2, generator=torch.Generator().manual_seed(0))
    whole = ((pipe._decode(latents[None])[0].permute(1, 2, 0) + 1) * 127.5).numpy()

    def small(given: torch.Tensor) -> torch.Tensor:
        sides.append(given.shape[-1])
        if given.shape[-1] > side // 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return decode(given)

    pipe.vae.decoder.forward = small
    decoder = Decoder(lambda part: pipe._decode(torch.stack(list(part))), told.append, pipe._decode_in_tiles)
    (frame,) = decoder([latents])
    assert frame.shape == (side, side, 3) and sides[0] == side // 2 and set(sides[1:]) <= set(range(side // 4 + 1))
    assert told == ["memory ran out, so pictures are decoded in tiles, whose seams are blended, more slowly"]
    assert pipe._decode_in_tiles() is False
    assert np.corrcoef(frame.ravel(), whole.ravel())[0, 1] > 0.8


def test_one_picture_that_does_not_fit_is_an_error() -> None:
    def decode(part: Sequence[int]) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        Decoder(decode, None)([1, 2])


def test_other_errors_are_not_taken_for_memory() -> None:
    calls = []

    def decode(part: Sequence[int]) -> torch.Tensor:
        calls.append(part)
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Decoder(decode, None)([1, 2])
    assert len(calls) == 1
    assert is_out_of_memory(MemoryError()) and not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(NotFinite):
        Decoder(lambda part: torch.full((1, 3, 2, 2), bad), None)([1])
