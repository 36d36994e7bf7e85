"""The stage that teaches codes to be alike from all sides: what it wants, what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.avatars.pack import write_pack
from mien.errors import InputError
from mien.models.dex_portrait.config import FaceExpressionEncoderConfig, FacePoseEncoderConfig
from mien.pipelines.dex_portrait import DeXPortraitPipeline
from mien.training.dex_portrait.expression_views import ExpressionViews
from mien.training.engine import checkpoints
from mien.training.engine.trainer import train
from mien.training.registry import configure, make_stage
from tiny_dex import TINY_DEX_WINDOW, tiny_dex_window_pipeline
from window_faces import drawn_basis

SMALL = replace(TINY_DEX_WINDOW, pose=FacePoseEncoderConfig(), expression=FaceExpressionEncoderConfig(code=16))


@pytest.fixture(scope="module")
def places(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model folder and a cast of nobody's likenesses."""
    folder = tmp_path_factory.mktemp("views")
    tiny_dex_window_pipeline(drawn_basis(), config=SMALL).save_pretrained(folder / "model")
    return folder / "model", write_pack(folder / "cast.safetensors", pack, (), ())


def stage_of(places: tuple[Path, Path], **more: object) -> ExpressionViews:
    given = {"data": (str(places[1]),), "start": str(places[0]), "precision": "fp32", "show_every": 0, "warmup": 1}
    stage = make_stage(configure("dex/expression-views", **{**given, **more}))
    assert isinstance(stage, ExpressionViews)
    return stage


def test_fronts_are_told_as_before_and_other_views_like_them(places: tuple[Path, Path]) -> None:
    stage = stage_of(places, views=2)
    model, batch = stage.build(), stage.batch(np.random.default_rng(0), 2)
    assert batch["front"].shape == (2, 3, 256, 256) and batch["views"].shape == (6, 3, 256, 256)
    fronts = {**batch, "views": batch["front"].repeat_interleave(3, 0)}
    with torch.no_grad():
        assert float(stage.loss(model, fronts, torch.Generator())["views"]) < 1e-9, "the encoder as it was"
        assert float(stage.loss(model, batch, torch.Generator())["views"]) > 1e-6, "turned views have other codes"
        model.expression_encoder.head.weight.zero_()
        model.expression_encoder.head.bias.zero_()
        assert float(stage.loss(model, batch, torch.Generator())["views"]) == pytest.approx(1, rel=1e-4)


def test_a_batch_shows_one_expression_from_several_sides(places: tuple[Path, Path]) -> None:
    stage = stage_of(places, views=1)
    frames = stage._people.views(np.random.default_rng(2), 64, np.array([[0.0, 0, 0], [30.0, 0, 0], [-30.0, 0, 0]]))
    yaws = [frame.head_pose()[1] for frame in frames]
    assert np.sign(yaws[1] - yaws[0]) == -np.sign(yaws[2] - yaws[0]) != 0
    again = stage._people.views(np.random.default_rng(2), 64, np.zeros((1, 3)))[0]
    assert np.array_equal(frames[0].picture, again.picture), "the same person and expression"


def test_only_the_expression_encoder_of_the_model_is_another(places: tuple[Path, Path], tmp_path: Path) -> None:
    stage = stage_of(places, steps=3, batch_size=1, views=1, out=str(tmp_path / "run"), learning_rate=0.01)
    assert train(stage, replace(stage.options, loop=replace(stage.options.loop, time_limit=1e-3))).finished is False
    assert train(stage, stage.options).finished
    model = stage.build()
    checkpoints.fill(model, checkpoints.find(tmp_path / "run").averaged_weights())
    stage.export(model, tmp_path / "made")
    given, made = (DeXPortraitPipeline.from_pretrained(place) for place in (places[0], tmp_path / "made"))
    for part in ("unet", "appearance_reference", "injection", "pose_encoder", "window_head"):
        other = getattr(made, part).state_dict()
        assert all(torch.equal(value, other[name]) for name, value in getattr(given, part).state_dict().items()), part
    before, after = (pipe.expression_encoder.state_dict() for pipe in (given, made))
    assert not torch.equal(before["head.weight"], after["head.weight"])
    assert torch.equal(before["keypoints.weight"], after["keypoints.weight"]), "what reads codes"
    with torch.no_grad():
        assert stage.pictures(model.eval()).shape == (6 * 256, 2 * 256, 3)


def test_what_it_cannot_start_from_is_said(places: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one packed cast"):
        stage_of(places, data=(str(tmp_path),))
    with pytest.raises(InputError, match="is no model folder"):
        stage_of(places, start=str(tmp_path))
    with pytest.raises(InputError, match="--start a model folder"):
        stage_of(places, start=None)
    tiny_dex_window_pipeline(drawn_basis()).save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="not DeX-Portrait on face windows"):
        stage_of(places, start=str(tmp_path / "other")).build()
