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
    pipe, told, decode = job_pipeline(), list[str](), []
    whole = pipe._decode(torch.ones(1, 4, 32, 32))

    def small(latents: torch.Tensor) -> torch.Tensor:
        decode.append(tuple(latents.shape[-2:]))
        if latents.shape[-1] > 16 + 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return decoder(latents)

    decoder, pipe.vae.decoder.forward = pipe.vae.decoder.forward, small
    decoded = Decoder(lambda part: pipe._decode(torch.stack(list(part))), told.append, pipe._decode_in_tiles)
    (frame,) = decoded([torch.ones(4, 32, 32)])
    assert frame.shape == (64, 64, 3) and max(max(shape) for shape in decode[1:]) <= 20
    assert told == ["memory ran out, so pictures are decoded in tiles, whose seams are blended, more slowly"]
    assert pipe._decode_in_tiles() is False
    assert np.abs(frame[8:24, 8:24] - ((whole[0].permute(1, 2, 0)[8:24, 8:24] + 1) * 127.5).numpy()).mean() < 40


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
