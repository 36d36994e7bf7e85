"""XPortraitPipeline for face windows."""

from __future__ import annotations

from copy import copy
from itertools import islice

import numpy as np
import pytest
import torch

from mien.geometry.face_window import PaintedWindow
from mien.models.x_portrait import XPortraitNetworks
from mien.pipelines.x_portrait import XPortraitPipeline
from tiny import tiny_window_pipeline


def pictures(count: int, seed: int, side: int = 32) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def stream(pipe: XPortraitPipeline, count: int = 9, **more):  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(3)
    return pipe.stream(
        pictures(count, 1), pictures(count, 2, 64), start_frames=pictures(count, 3), generator=generator, **more
    )


@pytest.fixture(scope="module", params=[1, 2])
def pipe(request: pytest.FixtureRequest) -> XPortraitPipeline:
    made = tiny_window_pipeline(steps=request.param)
    made.set_portrait(pictures(1, 0)[0])
    return made


def test_packed_windows_hold_what_was_painted() -> None:
    rng = np.random.default_rng(0)
    flow = rng.uniform(-0.3, 0.3, (8, 8, 2)).astype(np.float32)
    share = rng.uniform(0, 1, (8, 8)).astype(np.float32)
    given = PaintedWindow(pictures(1, 4, 8)[0], share, flow)
    got = PaintedWindow.unpacked(given.packed())
    assert (got.paint == given.paint).all()
    assert np.abs(got.flow - flow).max() < 1e-4 and np.abs(got.share - share).max() < 0.003


def test_a_window_is_laid_over_the_moved_portrait() -> None:
    moved = pictures(1, 5, 16)[0]
    still = PaintedWindow(np.zeros_like(moved), np.zeros((16, 16), np.float32), np.zeros((16, 16, 2), np.float32))
    assert (still.laid_over(moved) == moved).all()
    right = np.zeros((16, 16, 2), np.float32)
    right[..., 0] = 1 / 8  # a pixel
    bent = PaintedWindow(still.paint, still.share, right).laid_over(moved)
    assert (bent[:, :-1] == moved[:, 1:]).all()


def test_frames_are_windows_that_the_driver_decides(pipe: XPortraitPipeline) -> None:
    assert pipe.face_window == 32 and pipe.local_size == 64
    frames = list(stream(pipe))
    assert len(frames) == 9 and all(frame.shape == (96, 32, 3) and frame.dtype == np.uint8 for frame in frames)
    window = PaintedWindow.unpacked(frames[0])
    assert window.share[0].max() == 0 and 0 < window.share.max() <= 1
    other = list(
        pipe.stream(
            pictures(9, 7), pictures(9, 2, 64), start_frames=pictures(9, 3), generator=torch.Generator().manual_seed(3)
        )
    )
    assert (frames[4] != other[4]).any()


def test_a_run_that_was_stopped_goes_on_with_the_same_windows(pipe: XPortraitPipeline) -> None:
    class Kept:
        def __init__(self, begun=None) -> None:  # type: ignore[no-untyped-def]
            self.begun, self.now, self.frames = begun, None, 0

        def state(self):  # type: ignore[no-untyped-def]
            return self.begun

        def save(self, frames, state) -> None:  # type: ignore[no-untyped-def]
            self.now = state()

    whole = list(stream(pipe))
    first = Kept()
    begun = list(islice(stream(pipe, checkpoint=first, decode_chunk_size=2), 4))
    rest = list(stream(pipe, checkpoint=Kept(first.now), decode_chunk_size=2))
    assert first.now is not None and len(begun) == first.now.emitted == 4
    for one, two in zip(whole, begun + rest, strict=True):
        assert np.abs(one[:32].astype(int) - two[:32]).max() <= 1


def test_moved_portraits_must_be_given(pipe: XPortraitPipeline) -> None:
    with pytest.raises(ValueError, match="pass start_frames"):
        list(pipe.stream(pictures(2, 1), pictures(2, 2, 64)))


def test_a_saved_model_is_the_same(pipe: XPortraitPipeline, tmp_path) -> None:  # type: ignore[no-untyped-def]
    pipe.save_pretrained(tmp_path)
    again = XPortraitPipeline.from_pretrained(tmp_path)
    again.set_portrait(pictures(1, 0)[0])
    for one, two in zip(stream(pipe, 3), stream(again, 3), strict=True):
        assert np.abs(one[:32].astype(int) - two[:32]).max() <= 1


def test_where_the_networks_are_is_asked_once(pipe: XPortraitPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers asks every layer for hooks, which takes longer than to encode a picture."""
    asked, found = [], XPortraitPipeline._execution_device
    monkeypatch.setattr(XPortraitPipeline, "_execution_device", property(lambda it: asked.append(1) or found.fget(it)))
    list(stream(pipe, decode_chunk_size=None))
    assert len(asked) == 1


def test_what_is_kept_of_a_portrait_is_read_once(pipe: XPortraitPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the pictures of a camera, each of which is a run of its own."""
    asked, found = [], XPortraitNetworks.read_appearance
    monkeypatch.setattr(XPortraitNetworks, "read_appearance", lambda *given: asked.append(1) or found(*given))
    steps, keeping = pipe.default_options["num_inference_steps"], copy(pipe)
    anew = [next(stream(pipe, 1)) for _ in range(2)]
    assert len(asked) == 2 * steps
    keeping.kept_references = {}
    kept = [next(stream(keeping, 1)) for _ in range(2)]
    assert len(asked) == 3 * steps
    for one in (*anew, *kept):
        assert (one == anew[0]).all()
