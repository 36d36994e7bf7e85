"""The supervised training of DeX-Portrait's encoders: exact ground truth under every change, and the stage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.errors import InputError
from mien.geometry.pose import rotation_matrix
from mien.models.dex_portrait import NANO, build
from mien.models.dex_portrait.config import ExpressionEncoderConfig, PoseEncoderConfig
from mien.models.reenactor import Reenactor, ReenactorConfig
from mien.pipelines.dex_portrait import DeXPortraitPipeline
from mien.training.dex_portrait import encoder_data as data
from mien.training.dex_portrait.animator import DexAnimator
from mien.training.dex_portrait.encoders import DexEncoders
from mien.training.dex_portrait.model import AnimatorModel, take_start
from mien.training.engine import checkpoints
from mien.training.engine.trainer import train
from mien.training.registry import configure
from tiny_dex import SMALL_DEX

TINY = replace(
    NANO,
    pose=PoseEncoderConfig(32, (1, 1), (8, 16), coordinates=True),
    expression=ExpressionEncoderConfig(32, (8, 8, 8), 1, 4, 128, 0, "group"),
)


def drawn_group(folder: Path, people: int = 2, motions: int = 6) -> None:
    """A group of noise whose ground truth is that of a rigid head, as `mien.avatars.groups` writes it."""
    rng = np.random.default_rng(0)
    expression = rng.uniform(size=(motions, 57)).astype(np.float32)
    expression[3:] = expression[:3]
    poses = rng.normal(size=(people, motions, 6)).astype(np.float32) * 0.1
    poses[..., 5] = 0.4
    np.save(folder / "group_000_frames.npy", rng.integers(0, 255, (people, motions, 256, 256, 3), dtype=np.uint8))
    np.savez(
        folder / "group_000_meta.npz",
        landmarks=(128 + rng.normal(size=(people, motions, 68, 2)) * 40).astype(np.float32),
        depths=rng.normal(size=(people, motions, 68)).astype(np.float32),
        pupils=np.full((people, motions, 2, 3), 100, np.float32),
        head_pose=poses,
        rotation=np.stack([rotation_matrix(pose[:3]) for pose in poses[0]]).astype(np.float32),
        shift_scale=poses[0, :, 3:],
        expression=expression,
        validation=np.array(False),
    )
    (folder / "group_000_people.json").write_text(json.dumps({}))


def projected(code: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [k, 3] of a head in a pose code, half sides."""
    return np.exp(code[5]) * 0.4 * (points @ rotation_matrix(code[:3]).T)[:, :2] + code[3:5]


def test_pose_codes_follow_mirrored_and_turned_pictures() -> None:
    rng = np.random.default_rng(1)
    code, points = np.array([0.2, -0.3, 0.1, 0.05, -0.1, 0.2]), rng.normal(size=(70, 3))
    mirrored = projected(data._mirrored_code(code, True), points * [-1, 1, 1])
    np.testing.assert_allclose(mirrored, projected(code, points) * [-1, 1], atol=1e-9)
    picture, marks = np.zeros((64, 64, 3), np.uint8), (projected(code, points)[:68] + 1) * 32
    still = data.EncoderAugmentation(zoom=(1, 1), shift=0, roll=0)
    _, same = data._turned(picture, marks, code, 64, still, rng)
    np.testing.assert_allclose(same, code, atol=1e-9)
    # a white dot moves as the code says
    dot, spot = np.zeros((64, 64, 3), np.uint8), np.array([[0.0, 0.0, 0.0]])
    x, y = (projected(code, spot)[0] + 1) * 32
    dot[int(y) - 1 : int(y) + 1, int(x) - 1 : int(x) + 1] = 255
    plain = data.EncoderAugmentation(zoom=(1.2, 1.2), shift=0.1, roll=40, color_jitter=0, poor=0)
    far = marks * 0 - 500 + rng.normal(size=marks.shape)  # nothing is masked
    shown, moved = data._turned(dot, far, code, 64, plain, rng)
    bright = shown.mean(2) - np.median(shown.mean(2))
    seen = np.argwhere(bright > 0.7 * bright.max()).mean(0)[::-1] + 0.5
    np.testing.assert_allclose(seen, (projected(moved, spot)[0] + 1) * 32, atol=1.6)


def test_a_pose_with_two_expressions_is_shown_twice_in_the_same_way(tmp_path: Path) -> None:
    drawn_group(tmp_path)
    meta = dict(np.load(tmp_path / "group_000_meta.npz"))
    meta["rotation"][3:], meta["shift_scale"][3:] = meta["rotation"][:3], meta["shift_scale"][:3]
    meta["landmarks"][:, 3:] = meta["landmarks"][:, :3]
    np.savez(tmp_path / "group_000_meta.npz", **meta)
    frames = np.load(tmp_path / "group_000_frames.npy")
    frames[:, 3:] = frames[:, :3]
    np.save(tmp_path / "group_000_frames.npy", frames)
    made = data.EncoderData([tmp_path])
    assert made.groups[0].twin.tolist() == [3, 4, 5, 0, 1, 2]
    batch = made.draw(np.random.default_rng(0), 3, (32, 32), data.EncoderAugmentation())
    assert batch["twin_of"].tolist() == [0, 1, 2] and torch.equal(batch["twins"], batch["masked"])
    none = made.draw(np.random.default_rng(0), 3, (32, 32), data.EncoderAugmentation.none())
    assert "twins" not in none
    stage = DexEncoders(configure("dex/motion", data=(str(tmp_path),), out="out", preset="supervised"), TINY)
    model = stage.build()
    for weights in model.pose_encoder.parameters():
        torch.nn.init.normal_(weights, std=0.2)  # the last layer begins at nought: every pose is the same
    with torch.no_grad():
        assert float(stage.loss(model, batch, torch.Generator())["steady"]) < 1e-5
        batch["twins"] = batch["twins"].flip(0)
        assert float(stage.loss(model, batch, torch.Generator())["steady"]) > 1e-4


def test_folders_are_drawn_from_by_their_shares(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("much", "little")]
    for folder, people in zip(folders, (6, 2), strict=True):
        folder.mkdir()
        drawn_group(folder, people)
    assert np.allclose(data.EncoderData(folders)._odds, [0.75, 0.25])
    shares = dict(zip(folders, (0.4, 0.6), strict=True))
    assert np.allclose(data.EncoderData(folders, weights=shares)._odds, [0.4, 0.6])


def test_the_stage_learns_and_exports(tmp_path: Path) -> None:
    drawn_group(tmp_path)
    options = configure(
        "dex/motion", data=(str(tmp_path),), out=str(tmp_path / "run"), preset="supervised", steps=3, batch_size=2,
        precision="fp32", show_every=3, warmup=1,
    )  # fmt: skip
    stage = DexEncoders(options, TINY)
    outcome = train(stage, options)
    assert outcome.finished and set(outcome.losses) == {"anchor", "steady", "moved", "agreement", "apart"}
    model = stage.build()
    stage.start(model, tmp_path / "run")
    stage.export(model, tmp_path / "export")
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == [
        "expression_encoder",
        "expression_shape",
        "pose_encoder",
    ]
    assert torch.equal(model.expression_shape.mean, torch.from_numpy(stage.data.mean))


def test_full_size_is_refused(tmp_path: Path) -> None:
    options = configure("dex/motion", data=(str(tmp_path),), out=str(tmp_path), size="full", preset="supervised")
    with pytest.raises(InputError, match="nano size only"):
        DexEncoders(options)


def test_the_animator_starts_from_a_reenactor_that_codes_drive(tmp_path: Path) -> None:
    """Encoders that know keypoints, then an animator that adds to the reenactor's pictures, then a pipeline."""
    backbone = replace(SMALL_DEX.backbone, source_in_sample=True, prediction_type="sample", image_size=64)
    config = replace(SMALL_DEX, backbone=backbone)
    drawn_group(tmp_path)
    Reenactor.of(ReenactorConfig(64, (4, 4, 8), (8, 8, 8), (4, 4, 8, 8), 1, 4, 4)).save_pretrained(tmp_path / "reen")
    shared = {"steps": 2, "batch_size": 2, "precision": "fp32", "show_every": 0, "warmup": 1}
    encoders = configure(
        "dex/motion", data=(str(tmp_path),), out=str(tmp_path / "encoders"), preset="supervised", **shared
    )
    train(DexEncoders(encoders, config), encoders)
    options = configure(
        "dex/animator", data=(str(tmp_path),), out=str(tmp_path / "run"), start=encoders.out,
        reenactor=str(tmp_path / "reen"),
        **shared,
    )  # fmt: skip
    stage = DexAnimator(options, config=config)
    batch = stage.batch(np.random.default_rng(0), 2)
    assert batch["source_keypoints"].shape == (2, 70, 2) and batch["keypoints"].shape == (8, 70, 2)
    assert train(stage, options).finished
    model = stage.build()
    checkpoints.fill(model, checkpoints.find(tmp_path / "run").averaged_weights())
    init_latents = stage._init_latents(model, batch)
    assert init_latents is not None and init_latents.shape == model.encode(batch["target"]).shape
    assert (init_latents[0] - init_latents[1]).abs().mean() > 1e-4, "every driver has a start of its own"
    with torch.no_grad():
        assert stage.pictures(model.eval()).shape == (4 * 64, 5 * 64, 3)
    stage.export(model, tmp_path / "export")
    pipe = DeXPortraitPipeline.from_pretrained(tmp_path / "export")
    assert pipe.reenactor is not None and pipe.default_options["num_inference_steps"] == 1
    before = checkpoints.find(tmp_path / "encoders").averaged_weights()
    assert torch.equal(pipe.expression_shape.mean, before["expression_shape.mean"])
    assert torch.equal(pipe.pose_encoder.head.weight, before["pose_encoder.head.weight"])
    stage.start(stage.build(), tmp_path / "export")


def test_encoders_without_keypoints_are_no_start_for_a_reenactor(tmp_path: Path) -> None:
    weights = {f"{part}.head.weight": torch.zeros(1) for part in ("pose_encoder", "expression_encoder", "generator")}
    checkpoints.save(tmp_path, 1, weights, weights, {})
    model = AnimatorModel(build(SMALL_DEX))
    model.reenactor = Reenactor()
    with pytest.raises(InputError, match="knows no keypoints"):
        take_start(model, tmp_path)
