"""XPortraitPipeline on a tiny random model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mien.errors import WeightsError
from mien.pipelines.x_portrait import XPortraitPipeline
from tiny import tiny_pipeline


def pictures(count: int, seed: int = 0, size: int = 64) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (size, size, 3), dtype=np.uint8) for _ in range(count)]


def run(pipe: XPortraitPipeline, count: int = 5, seed: int = 0, **options) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    drive = pictures(count, 2)
    return pipe.animate(drive, drive, output_type="np", generator=generator, **options).frames


def largest_step(first: np.ndarray, second: np.ndarray) -> int:
    """Levels of 256 by which two runs differ; 1 is what arithmetic at other addresses may round apart."""
    return int(np.abs(first.astype(int) - second).max())


@pytest.fixture(scope="module")
def pipe() -> XPortraitPipeline:
    made = tiny_pipeline()
    made.set_portrait(pictures(1, 1))
    return made


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 20])
def test_any_length(pipe: XPortraitPipeline, count: int) -> None:
    frames = run(pipe, count)
    assert frames.shape == (count, 64, 64, 3)
    assert frames.std() > 1


def test_same_seed_same_frames_other_seed_others(pipe: XPortraitPipeline) -> None:
    assert largest_step(run(pipe), run(pipe)) <= 1
    assert not np.array_equal(run(pipe), run(pipe, seed=1))


def test_output_types(pipe: XPortraitPipeline) -> None:
    drive = pictures(2)
    assert isinstance(pipe.animate(drive, drive).frames[0], Image.Image)
    tensor = pipe.animate(drive, drive, output_type="pt").frames
    assert tensor.shape == (2, 3, 64, 64)
    assert tensor.min() >= -1
    with pytest.raises(ValueError, match="output_type"):
        pipe.animate(drive, drive, output_type="jpeg")


def test_driver_portrait_and_patches_all_matter(pipe: XPortraitPipeline) -> None:
    base, other, drive = run(pipe), pictures(5, 9), pictures(5, 2)
    seeded = lambda: torch.Generator().manual_seed(0)  # noqa: E731
    assert not np.array_equal(base, pipe.animate(other, drive, output_type="np", generator=seeded()).frames)
    assert not np.array_equal(base, pipe.animate(drive, other, output_type="np", generator=seeded()).frames)
    second = tiny_pipeline()
    second.set_portrait(pictures(1, 1) + pictures(1, 5))
    assert not np.array_equal(base, run(second))


def test_reference_runs_once_per_timestep_and_hints_once_per_frame() -> None:
    made, calls = tiny_pipeline(), {"reference": 0, "hints": 0}
    made.set_portrait(pictures(1, 1))
    reference, encode = made.appearance_reference.forward, made.motion_control.encode_hint

    def count_reference(*args, **kwargs):
        calls["reference"] += 1
        return reference(*args, **kwargs)

    def count_hints(images):
        calls["hints"] += len(images)
        return encode(images)

    made.appearance_reference.forward, made.motion_control.encode_hint = count_reference, count_hints
    run(made, 20, num_inference_steps=4)
    assert calls == {"reference": 4, "hints": 20}


def test_stream_is_lazy(pipe: XPortraitPipeline) -> None:
    taken = 0

    def driver():
        nonlocal taken
        for picture in pictures(200):
            taken += 1
            yield picture

    stream = pipe.stream(driver(), pictures(200))
    next(stream)
    assert taken < 60


def test_progress_reaches_one_and_callback_sees_steps(pipe: XPortraitPipeline) -> None:
    seen, steps, drive = [], set(), pictures(20)
    list(
        pipe.stream(
            drive,
            drive,
            count=20,
            progress=seen.append,
            callback_on_step_end=lambda pipe, step, t, kwargs: steps.add(step) or kwargs,
        )
    )
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)
    assert steps == {0, 1}


def test_balance_mode_guides_otherwise(pipe: XPortraitPipeline) -> None:
    assert not np.array_equal(run(pipe, 6), run(pipe, 6, guidance_mode="balance"))


def test_start_frames_replace_the_source_as_start(pipe: XPortraitPipeline) -> None:
    assert not np.array_equal(run(pipe), run(pipe, start_frames=pictures(5, 8)))


def test_save_and_load_give_the_same_frames(pipe: XPortraitPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    again = XPortraitPipeline.from_pretrained(tmp_path)
    again.set_portrait(pictures(1, 1))
    assert largest_step(run(pipe), run(again)) <= 1
    assert again.default_options["window"] == 8


@pytest.mark.parametrize("fault", ["missing", "unexpected", "shape", "truncated", "gone", "config"])
def test_damaged_folders_are_named(pipe: XPortraitPipeline, tmp_path: Path, fault: str) -> None:
    pipe.save_pretrained(tmp_path)
    path = tmp_path / "temporal" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    if fault == "missing":
        del tensors[name]
    elif fault == "unexpected":
        tensors["stranger.weight"] = torch.zeros(1)
    elif fault == "shape":
        tensors[name] = torch.zeros(3, 3, 3)
    save_file(tensors, path)
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    elif fault == "gone":
        path.unlink()
    elif fault == "config":
        (tmp_path / "temporal" / "config.json").write_text(json.dumps({"heads": "many"}))
    with pytest.raises(WeightsError, match="temporal"):
        XPortraitPipeline.from_pretrained(tmp_path)


def test_unusable_calls_say_why(pipe: XPortraitPipeline) -> None:
    drive = pictures(2)
    with pytest.raises(ValueError, match="set_portrait"):
        tiny_pipeline().animate(drive, drive)
    with pytest.raises(ValueError, match="local_frames"):
        pipe.animate(drive)
    with pytest.raises(ValueError, match="at most 24 frames"):
        pipe.animate(drive, drive, window=25)
    with pytest.raises(ValueError, match="overlap"):
        pipe.animate(drive, drive, window=4, overlap=4)
    with pytest.raises(WeightsError, match="no model folder"):
        XPortraitPipeline.from_pretrained("/nowhere/at/all")


def test_lcm_scheduler_gives_frames_in_few_steps() -> None:
    made = tiny_pipeline()
    made.set_portrait(pictures(1, 1))
    made.use_few_steps()
    assert run(made, 9, num_inference_steps=3, guidance_scale=1.0).shape[0] == 9


def test_cost_grows_as_the_work_does(pipe: XPortraitPipeline) -> None:
    base = pipe.cost(40, guidance_scale=1.0)
    assert pipe.cost(40, guidance_scale=2.0).flops > 1.3 * base.flops
    assert 1.8 < pipe.cost(80, guidance_scale=1.0).flops / base.flops < 2.2
    assert 1.8 < pipe.cost(40, guidance_scale=1.0, num_inference_steps=4).flops / base.flops < 2.2
    assert pipe.cost(100_000).bytes < 1.2 * pipe.cost(1_000).bytes


def test_progress_bar_and_tuple(pipe: XPortraitPipeline, capsys: pytest.CaptureFixture[str]) -> None:
    loud = tiny_pipeline()
    loud.set_portrait(pictures(1, 1))
    loud.set_progress_bar_config(disable=False)
    drive = pictures(5)
    (frames,) = loud.animate(drive, drive, return_dict=False, output_type="np")
    assert frames.shape[0] == 5
    assert "100%" in capsys.readouterr().err


def test_streams_that_end_early_are_named(pipe: XPortraitPipeline) -> None:
    with pytest.raises(ValueError, match="local_frames ends after 3 frames"):
        pipe.animate(pictures(5), pictures(3))


def test_small_steps_start_at_their_own_noise(pipe: XPortraitPipeline) -> None:
    """One step of the published spacing starts at t = 1: what comes out is the source, not noise."""
    one = run(pipe, 2, num_inference_steps=1, guidance_scale=1.0)
    many = run(pipe, 2, num_inference_steps=50, guidance_scale=1.0)
    source = pipe._decode(pipe._sources[0])[0]
    shown = [torch.from_numpy(frames[0]).permute(2, 0, 1) / 127.5 - 1 for frames in (one, many)]
    assert (shown[0] - source).abs().mean() < (shown[1] - source).abs().mean()
