"""DeXPortraitPipeline on a tiny random model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from keeping import Memory
from mien.errors import WeightsError
from mien.models.dex_portrait import Gains, Motion, Pose
from mien.motion.motion_limits import MotionLimits
from mien.pipelines.dex_portrait import DeXPortraitPipeline
from samples import _TEMPLATE, draw_face
from tiny_dex import tiny_dex_pipeline

MARKS = 0.5 + 0.25 * _TEMPLATE  # of draw_face in the middle, 0 to 1


def motion(count: int, seed: int = 0, reference: int = 0) -> Motion:
    generator = torch.Generator().manual_seed(seed)
    pose = torch.randn(count, 6, generator=generator) * 0.2
    return Motion(pose, torch.randn(count, 16, generator=generator), reference)


@pytest.fixture(scope="module")
def pipe() -> DeXPortraitPipeline:
    made = tiny_dex_pipeline()
    made.set_portrait(draw_face(64, 64), MARKS)
    return made


def run(pipe: DeXPortraitPipeline, pose: Motion | None, expression: Motion | None, seed: int = 0, **more) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    return pipe.animate(pose, expression, output_type="np", generator=generator, **more).frames


@pytest.mark.parametrize("count", [1, 7, 8, 9, 20])
def test_any_length(pipe: DeXPortraitPipeline, count: int) -> None:
    frames = run(pipe, motion(count), motion(count))
    assert frames.shape == (count, 32, 32, 3)
    assert frames.std() > 1


def test_pose_and_expression_come_from_where_they_are_asked_for(pipe: DeXPortraitPipeline) -> None:
    base = run(pipe, motion(3, 1), motion(3, 2)).astype(int)
    again = run(pipe, motion(3, 1), motion(3, 2)).astype(int)
    assert np.array_equal(base, again)
    for other in (
        run(pipe, motion(3, 5), motion(3, 2)),
        run(pipe, motion(3, 1), motion(3, 5)),
        run(pipe, None, motion(3, 2)),
        run(pipe, motion(3, 1), None),
        run(pipe, motion(3, 1), motion(3, 2), seed=1),
        run(pipe, motion(3, 1), motion(3, 2), gains=Gains(pose=0.5)),
        run(pipe, motion(3, 1), motion(3, 2), gains=Gains(expression=0.5)),
        run(pipe, motion(3, 1, 2), motion(3, 2), gains=Gains(relative=True)),
    ):
        assert np.abs(base - other).mean() > 0.05
    # two steps hold nothing back, five do
    held, plain = (run(pipe, motion(2), motion(2), num_inference_steps=5, guidance=g) for g in ("progressive", "plain"))
    assert np.abs(held.astype(int) - plain).mean() > 0.05
    # a motion's pose is read, its expression is not, and the other way round
    mixed = Motion(motion(3, 1).pose, motion(3, 9).expression), Motion(motion(3, 9).pose, motion(3, 2).expression)
    assert np.array_equal(run(pipe, *mixed), base)


def test_without_a_pose_the_head_stays_bit_for_bit(pipe: DeXPortraitPipeline) -> None:
    driven = pipe.drive(None, motion(4), Gains())
    own = Pose.from_code(pipe.portrait.pose).matrix()
    assert torch.equal(driven.pose.matrix(), own.expand(4, 4, 4))
    driven = pipe.drive(motion(4), None, Gains())
    assert torch.equal(driven.expression, pipe.portrait.expression.expand(4, -1))


def test_a_still_is_held_and_lengths_must_fit(pipe: DeXPortraitPipeline) -> None:
    assert len(pipe.drive(motion(1), motion(5), Gains())) == 5
    assert len(pipe.drive(motion(6), motion(5), Gains(), frames=5)) == 5
    with pytest.raises(ValueError, match="do not fit"):
        pipe.drive(motion(3), motion(5), Gains())
    with pytest.raises(ValueError, match="do not fit"):
        pipe.drive(motion(3), None, Gains(), frames=5)
    with pytest.raises(ValueError, match="nothing drives"):
        pipe.drive(None, None, Gains())


def test_what_is_read_is_what_the_encoders_are_shown(pipe: DeXPortraitPipeline) -> None:
    face = draw_face(64, 64)
    read = pipe.read_motion([(face, MARKS)] * 10)
    assert read.pose.shape == (10, 6)
    assert read.expression.shape == (10, 16)
    assert torch.allclose(read.expression[0], pipe.portrait.expression[0], atol=1e-5)
    winking = face.copy()
    winking[25:30, 23:28] = (220, 170, 140)  # an eye is gone
    other = pipe.read_motion([(winking, MARKS)])
    assert torch.equal(other.pose, pipe.portrait.pose)
    assert not torch.allclose(other.expression, pipe.portrait.expression, atol=1e-4)


def test_the_reference_runs_once_and_the_paper_needs_74_evaluations() -> None:
    made, calls = tiny_dex_pipeline(), {"reference": 0, "unet": 0}
    made.set_portrait(draw_face(64, 64), MARKS)
    reference, unet = made.appearance_reference.forward, made.unet.forward

    def count_reference(*args, **kwargs):
        calls["reference"] += 1
        return reference(*args, **kwargs)

    def count_unet(*args, **kwargs):
        calls["unet"] += 1
        return unet(*args, **kwargs)

    made.appearance_reference.forward, made.unet.forward = count_reference, count_unet
    run(made, motion(2), motion(2), num_inference_steps=35, guidance_scale=2.5)
    assert calls == {"reference": 1, "unet": 74}
    calls["unet"] = 0
    run(made, motion(2), motion(2), num_inference_steps=7, guidance="plain")
    assert calls["unet"] == 14
    calls["unet"] = 0
    run(made, motion(2), motion(2), num_inference_steps=4, guidance_scale=1.0, guidance="plain")
    assert calls["unet"] == 4


def test_what_stands_for_no_expression(pipe: DeXPortraitPipeline) -> None:
    made = [
        run(pipe, motion(2), motion(2), num_inference_steps=5, null_expression=kind).astype(int)
        for kind in ("learned", "zeros", "source")
    ]
    assert min(np.abs(made[a] - made[b]).mean() for a, b in ((0, 1), (0, 2), (1, 2))) > 0.05


def test_progress_reaches_one_and_frames_stream(pipe: DeXPortraitPipeline) -> None:
    seen: list[float] = []
    stream = pipe.stream(motion(40), motion(40), progress=seen.append, decode_chunk_size=2)
    next(stream)
    assert 0 < seen[-1] < 0.9
    assert len(list(stream)) == 39
    assert seen[-1] == pytest.approx(1)


def test_save_and_load_give_the_same_frames_and_the_same_encoders(pipe: DeXPortraitPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    again = DeXPortraitPipeline.from_pretrained(tmp_path)
    again.set_portrait(draw_face(64, 64), MARKS)
    assert np.array_equal(run(pipe, motion(2), motion(2)), run(again, motion(2), motion(2)))
    assert again.encoder_id == pipe.encoder_id
    assert tiny_dex_pipeline(3).encoder_id != pipe.encoder_id
    half = DeXPortraitPipeline.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert (half.unet.dtype, half.pose_encoder.dtype) == (torch.bfloat16, torch.float32)
    assert half.encoder_id == pipe.encoder_id


@pytest.mark.parametrize("fault", ["missing", "unexpected", "gone"])
def test_damaged_folders_are_named(pipe: DeXPortraitPipeline, tmp_path: Path, fault: str) -> None:
    pipe.save_pretrained(tmp_path)
    path = tmp_path / "injection" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    if fault == "missing":
        del tensors[sorted(tensors)[0]]
    elif fault == "unexpected":
        tensors["stranger.weight"] = torch.zeros(1)
    save_file(tensors, path)
    if fault == "gone":
        path.unlink()
    with pytest.raises(WeightsError, match="injection"):
        DeXPortraitPipeline.from_pretrained(tmp_path)


def test_other_models_and_absent_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "XPortraitPipeline"}))
    with pytest.raises(WeightsError, match="holds a XPortraitPipeline, not a DeXPortraitPipeline"):
        DeXPortraitPipeline.from_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="no model folder"):
        DeXPortraitPipeline.from_pretrained("/nowhere/at/all")


def test_a_model_without_temporal_modules(tmp_path: Path) -> None:
    made = tiny_dex_pipeline()
    parts = {name: part for name, part in made.components.items() if name != "temporal"}
    alone = DeXPortraitPipeline(**parts, temporal=None, image_size=32, defaults=dict(made.config.defaults))
    alone.save_pretrained(tmp_path)
    again = DeXPortraitPipeline.from_pretrained(tmp_path)
    assert again.temporal is None
    again.set_portrait(draw_face(64, 64), MARKS)
    assert run(again, motion(3), motion(3)).shape[0] == 3


def test_a_model_trained_without_a_branch_of_the_pose_does_without(pipe: DeXPortraitPipeline, tmp_path: Path) -> None:
    base = run(pipe, motion(2), motion(2)).astype(int)
    for option in ("ray_maps", "warping"):
        less = DeXPortraitPipeline(**pipe.components, **{option: False}, image_size=32, defaults=pipe.config.defaults)
        less.set_portrait(draw_face(64, 64), MARKS)
        assert np.abs(run(less, motion(2), motion(2)).astype(int) - base).mean() > 0.05
        assert less.config[option] is False


def test_unusable_calls_say_why(pipe: DeXPortraitPipeline) -> None:
    with pytest.raises(ValueError, match="set_portrait"):
        tiny_dex_pipeline().animate(motion(2), None)
    with pytest.raises(ValueError, match="at most 24 frames"):
        pipe.animate(motion(2), None, window=25)
    with pytest.raises(ValueError, match="guidance must be one of"):
        pipe.animate(motion(2), None, guidance="strong")
    with pytest.raises(ValueError, match="make no motion"):
        Motion(torch.zeros(2, 6), torch.zeros(3, 16))
    with pytest.raises(ValueError, match="frame 2 is none"):
        dataclasses.replace(motion(2), reference=2)


def test_a_stream_that_goes_on_gives_the_frames_that_were_not_kept(pipe: DeXPortraitPipeline) -> None:
    def stream(keeper: Memory, **more: Any) -> Iterator[np.ndarray]:
        generator = torch.Generator().manual_seed(3)
        return pipe.stream(
            motion(21, 1), motion(21, 2), generator=generator, decode_chunk_size=4, checkpoint=keeper, **more
        )

    whole = np.stack(list(stream(Memory()))).astype(int)
    killed = Memory()
    list(islice(stream(killed), 6))  # in the middle of the second piece
    assert len(killed.frames) == 8
    told: list[float] = []
    rest = list(stream(Memory(killed.stopped), progress=told.append))
    assert len(rest) == 13 and np.array_equal(np.stack([*killed.frames, *rest]), whole)
    assert 0.3 < told[0] < told[-1] <= 1


def test_limits_are_read_as_the_first_release_named_them(pipe: DeXPortraitPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    file = tmp_path / "model_index.json"
    index = json.loads(file.read_text())
    del index["motion_limits"]
    file.write_text(json.dumps({**index, "reach": [0.1, 0.2, 0.3]}))
    assert DeXPortraitPipeline.from_pretrained(tmp_path).motion_limits == MotionLimits(0.1, 0.2, 0.3)
