"""FaceVid2VidPipeline: absolute, relative and free view; files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.errors import WeightsError
from mien.models.face_vid2vid import FaceVid2Vid
from mien.pipelines.face_vid2vid import FaceVid2VidPipeline, hull_area, nearest
from mien.pipelines.pictures import to_pixels, to_uint8
from tiny_face_vid2vid import TINY_F

FRAMES = list(np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), np.uint8))
PORTRAIT = np.random.default_rng(1).integers(0, 255, (32, 32, 3), np.uint8)


@pytest.fixture
def pipe() -> FaceVid2VidPipeline:
    torch.manual_seed(0)
    network = FaceVid2Vid.of(TINY_F)
    for head in (network.head_pose.expression, network.head_pose.translation):
        torch.nn.init.normal_(head.weight, std=0.1)
    made = FaceVid2VidPipeline(network.eval())
    made.set_portrait(PORTRAIT)
    return made


def test_absolute_motion_is_the_models_own_in_any_chunks(pipe: FaceVid2VidPipeline) -> None:
    network = pipe.face_vid2vid
    with torch.no_grad():
        motion = network.motion(to_pixels(FRAMES, 32))
        wanted = to_uint8(network(pipe.portrait.repeat(5), motion).picture)
    for size in (2, 8):
        made = list(pipe.stream(iter(FRAMES), decode_chunk_size=size))
        assert np.abs(np.stack(made).astype(int) - np.stack(wanted)).max() <= 1
    assert pipe.animate(FRAMES, output_type="pt").frames.shape == (5, 3, 32, 32)
    assert pipe(PORTRAIT, FRAMES[:1]).frames[0].size == (32, 32)


def test_relative_motion_starts_from_the_portrait_as_it_is(pipe: FaceVid2VidPipeline) -> None:
    (own,) = pipe.animate(views=[(None, None, None)], output_type="np").frames
    for reference in (0, 3):
        made = pipe.animate(FRAMES, motion="relative", reference=reference, output_type="np").frames
        still = [int(np.abs(frame.astype(int) - own).max()) for frame in made]
        assert still[reference] <= 1
        assert max(still) > 1
    # the portrait among the frames is the frame most like the portrait
    made = pipe.animate([*FRAMES, PORTRAIT], motion="relative", output_type="np").frames
    assert np.abs(made[-1].astype(int) - own).max() <= 1


def test_hulls_and_the_nearest_frame() -> None:
    square = torch.tensor([[0.0, 0, 9], [1, 0, 9], [1, 1, 9], [0, 1, 9], [0.5, 0.5, 9]])
    assert hull_area(square) == pytest.approx(1)
    moved = torch.stack([square + 0.05 * torch.randn(5, 3), 3 * square + 5, square.flip(1)])
    assert nearest(square, moved) == 1  # place and size do not count


def test_views_take_the_place_of_angles(pipe: FaceVid2VidPipeline) -> None:
    with torch.no_grad():
        angles = pipe.face_vid2vid.motion(to_pixels(FRAMES, 32)).angles
    same = pipe.animate(FRAMES, views=[tuple(a) for a in angles.tolist()], output_type="np").frames
    plain = pipe.animate(FRAMES, output_type="np").frames
    assert np.abs(same.astype(int) - plain).max() <= 1
    turned = pipe.animate(FRAMES, views=[(40.0, None, None)] * 5, output_type="np", decode_chunk_size=2).frames
    assert np.abs(turned.astype(int) - plain).max() > 1
    assert len(list(pipe.stream(views=((float(yaw), 0.0, 0.0) for yaw in range(-30, 31, 20))))) == 4


def test_what_does_not_go_together_is_said(pipe: FaceVid2VidPipeline) -> None:
    for options, words in (
        ({"motion": "sideways"}, "absolute or relative"),
        ({"motion": "relative", "views": [(0, 0, 0)]}, "no views"),
        ({"views": [(0.0, 0.0, 0.0)]}, "fewer views than frames"),
    ):
        with pytest.raises(ValueError, match=words):
            list(pipe.stream(FRAMES, **options))
    with pytest.raises(ValueError, match="nothing drives"):
        list(pipe.stream())
    with pytest.raises(ValueError, match="set_portrait"):
        list(FaceVid2VidPipeline(pipe.face_vid2vid).stream(FRAMES))


def test_a_saved_pipeline_is_the_same_and_others_are_refused(pipe: FaceVid2VidPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    again = FaceVid2VidPipeline.from_pretrained(tmp_path)
    again.set_portrait(PORTRAIT)
    assert np.array_equal(*(p.animate(FRAMES[:2], output_type="np").frames for p in (pipe, again)))
    assert (again.image_size, again.crop_scale) == (32, 2.05)
    half = FaceVid2VidPipeline.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert half.face_vid2vid.head_pose.angles.weight.dtype == torch.float32
    assert half.face_vid2vid.generator.mix.weight.dtype == torch.bfloat16
    half.set_portrait(PORTRAIT)
    assert half.animate(FRAMES[:1], output_type="np").frames.shape == (1, 32, 32, 3)
    index = tmp_path / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": "Other"}))
    with pytest.raises(WeightsError, match="holds a Other"):
        FaceVid2VidPipeline.from_pretrained(tmp_path)
