"""Weights kept elsewhere or in 8 bits, and what is kept of a run by the room there is: the same frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.diffusion import WindowPlan
from mien.errors import InputError
from mien.pipelines import x_portrait_denoiser
from mien.pipelines.cost import Needs, in_flight, needs, resident_bytes
from mien.pipelines.placement import (
    check_placement,
    large_parts,
    offload_layers,
    offloading,
    place,
    quantize_weights,
    stored_bytes,
)
from mien.pipelines.x_portrait import XPortraitPipeline
from mien.pipelines.x_portrait_denoiser import split_room
from tiny import tiny_pipeline

CPU = torch.device("cpu")


def pictures(count: int, seed: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 255, (count, 64, 64, 3), dtype=np.uint8))


def run(pipe: XPortraitPipeline, **options: Any) -> np.ndarray:
    pipe.set_portrait(pictures(1, 1))
    drive, noise = pictures(11, 2), torch.Generator().manual_seed(0)
    return np.stack(list(pipe.stream(drive, drive, generator=noise, count=11, **options))).astype(int)


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    return run(tiny_pipeline())


def test_layers_brought_one_by_one_make_the_same_frames(plain: np.ndarray) -> None:
    pipe = offload_layers(tiny_pipeline(), CPU)
    assert offloading(pipe) == "group"
    assert np.abs(run(pipe) - plain).max() == 0


def test_networks_brought_one_by_one_make_the_same_frames(plain: np.ndarray) -> None:
    pytest.importorskip("accelerate", reason="needs accelerate: pip install 'mien[scale]'")
    pipe = tiny_pipeline()
    pipe.enable_model_cpu_offload(device="cpu")
    assert offloading(pipe) == "model"
    assert np.abs(run(pipe) - plain).max() == 0
    pipe.remove_all_hooks()
    assert offloading(pipe) == "none"


@pytest.mark.parametrize("kind", ["fp8", "int8"])
def test_weights_in_eight_bits_take_what_was_counted_and_change_little(plain: np.ndarray, kind: str) -> None:
    if kind == "int8":
        pytest.importorskip("torchao", reason="needs torchao: pip install 'mien[scale]'")
    pipe = tiny_pipeline()
    counted = {name: stored_bytes(part, torch.float32, kind) for name, part in large_parts(pipe)}
    full = {name: stored_bytes(part, torch.float32) for name, part in large_parts(pipe)}
    quantize_weights(pipe, kind)
    for name, part in large_parts(pipe):
        found = sum(getattr(weight, "qdata", weight.data).nbytes for weight in part.parameters())
        assert found == counted[name] < full[name], name
    assert pipe.unet.dtype == torch.float32
    error = np.abs(run(pipe) - plain)
    assert 0 < error.mean() < 0.2 * plain.std()


def test_what_makes_no_sense_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="--offload is model, .*--device cpu computes there: leave it out"):
        place(tiny_pipeline(), CPU, "model")
    monkeypatch.setattr("mien.pipelines.placement.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'--quantize int8 needs the package torchao: pip install "mien\[scale\]"'):
        check_placement(CPU, "none", "int8")
    with pytest.raises(InputError, match="--offload model needs the package accelerate"):
        check_placement(torch.device("cuda"), "model", "none")
    check_placement(torch.device("cuda"), "group", "fp8")


def test_less_is_on_the_device_the_more_is_moved() -> None:
    pipe = tiny_pipeline()
    sizes = [resident_bytes(pipe, offload) for offload in ("none", "model", "group")]
    assert sizes[0] > sizes[1] > sizes[2] > 0
    networks = [part for part in vars(pipe.networks).values() if part is not None]
    assert sizes[0] == sum(weight.nbytes for part in networks for weight in part.parameters())
    assert resident_bytes(pipe, "none", "fp8") < sizes[0]


class Watched(dict[int, Any]):
    """A dictionary that notes how many entries it had at most, and what was made anew."""

    def __init__(self) -> None:
        super().__init__()
        self.most, self.made = 0, list[int]()

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, value)
        self.made.append(key)
        self.most = max(self.most, len(self))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """The reference features that the next denoiser keeps."""
    kept, made = Watched(), x_portrait_denoiser.XPortraitDenoiser.__init__

    def init(self: Any, *args: Any, **more: Any) -> None:
        made(self, *args, **more)
        self.reference_features = kept

    monkeypatch.setattr(x_portrait_denoiser.XPortraitDenoiser, "__init__", init)
    yield kept


def test_a_clip_of_one_window_holds_one_timestep_s_features_at_a_time(watched: Watched) -> None:
    run(tiny_pipeline(), num_inference_steps=4, window=11, overlap=2)
    assert watched.made == [0, 1, 2, 3] and watched.most == 1 and not watched


def test_a_device_with_little_room_makes_the_same_frames(
    plain: np.ndarray, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy = run(tiny_pipeline(), num_inference_steps=4, window=4, overlap=1)
    assert 1 < watched.most <= 4 and watched.made == [0, 1, 2, 3]
    watched.made.clear()
    watched.clear()
    watched.most = 0
    monkeypatch.setattr(x_portrait_denoiser, "free_bytes", lambda device: 0)
    assert np.abs(run(tiny_pipeline(), num_inference_steps=4, window=4, overlap=1) - roomy).max() == 0
    assert watched.most == 1 and len(watched.made) > 4


def test_room_is_shared_out_to_banks_then_to_frames() -> None:
    need, plan, gpu = Needs(reference_features=10, control_features=1, work=100), WindowPlan(4, 1), torch.device("cuda")
    assert in_flight(plan, 5, 3) == (1, 3)
    assert in_flight(plan, 5, None) == (5, 25)
    least = 100 + 10 + 4
    assert split_room(0, need, plan, 5, None, gpu) == (1, CPU)
    assert split_room(least + 25, need, plan, 5, None, gpu) == (3, CPU)
    assert split_room(least + 40, need, plan, 5, None, gpu) == (5, CPU)
    assert split_room(least + 65, need, plan, 5, None, gpu) == (5, gpu)


def test_decoded_pieces_are_as_large_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tiny_pipeline()
    assert pipe._decoder_chunk() == 8
    one = pipe._decoder_bytes
    for free, frames in ((0, 1), (2 * one, 1), (6 * one + 2, 3), (100 * one, 8)):
        monkeypatch.setattr("mien.pipelines.base.free_bytes", lambda device, free=free: free)
        assert pipe._decoder_chunk() == frames


def test_needs_grow_with_the_window_and_a_bank_does_not() -> None:
    pipe = tiny_pipeline()
    short, long = needs(pipe, 4, True, 1), needs(pipe, 8, True, 1)
    assert (short.reference_features, short.control_features) == (
        long.reference_features,
        long.control_features,
    ) and 1.5 * short.work < long.work
    assert needs(pipe, 4, True, 2).reference_features == 2 * short.reference_features


def test_a_model_without_weights_costs_what_the_whole_one_does(tmp_path: Path) -> None:
    pipe = tiny_pipeline()
    pipe.save_pretrained(tmp_path)
    empty = XPortraitPipeline.from_pretrained(tmp_path, empty=True)
    networks = [part for part in vars(empty.networks).values() if part is not None]
    assert all(weight.is_meta for part in networks for weight in part.parameters())
    assert empty.cost(40) == pipe.cost(40)
